//! What all streams of one HTTP/2 connection share.

use super::line::Line;
use super::outbox::Outbox;
use crate::proxy::Peer;
use crate::proxy::Proxy;
use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::task::Context;
use std::task::Waker;

/// One connection, as its streams see it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) proxy: Rc<Proxy>,
    pub(super) peer: Peer,
    pub(super) line: Rc<Line>,
    pub(super) outbox: Rc<Outbox>,
    /// Requests that are being served.
    open: Cell<usize>,
    /// The connection's own task.
    task: RefCell<Option<Waker>>,
}

impl Session {
    pub(super) fn new(proxy: Rc<Proxy>, peer: Peer, line: Rc<Line>) -> Rc<Self> {
        Rc::new(Self {
            proxy,
            peer,
            line,
            outbox: Rc::default(),
            open: Cell::new(0),
            task: RefCell::default(),
        })
    }

    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// The connection's task runs now, and wants to know when its last request is over, or one too many was
    /// given up.
    pub(super) fn runs(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *task = Some(cx.waker().clone());
        }
    }

    /// One more request, until what is given back is dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Begun {
        self.open.set(self.open.get() + 1);
        self.proxy.metrics.stream_opened();
        Begun(self.clone())
    }
}

/// A request that is being served; dropping it counts it as over, however it ended.
#[derive(Debug)]
pub(super) struct Begun(pub(super) Rc<Session>);

impl Drop for Begun {
    fn drop(&mut self) {
        let session = &self.0;
        session.open.set(session.open.get() - 1);
        session.proxy.metrics.stream_closed();
        let is_wanted = session.open.get() == 0 || session.line.flood().is_some();
        if is_wanted && let Some(task) = session.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }
}
