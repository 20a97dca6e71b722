//! One question to one name server.

use super::failure::NameTrouble;
use crate::net::Lack;
use aws_lc_rs::rand;
use domain::base::Message;
use domain::base::MessageBuilder;
use domain::base::Name;
use domain::base::RecordSection;
use domain::base::Rtype;
use domain::base::ToName;
use domain::base::iana::Rcode;
use domain::rdata::A;
use domain::rdata::Aaaa;
use domain::rdata::AllRecordData;
use domain::rdata::Soa;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;

pub(super) type Fqdn = Name<Vec<u8>>;

/// No datagram of DNS is longer without EDNS, which we do not speak; some servers send more all the same.
const DATAGRAM: usize = 4096;

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// What a name server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Found {
        addresses: Vec<IpAddr>,
        ttl: Duration,
    },
    /// It is another's name, of which the answer says nothing more.
    Alias(Fqdn),
    /// No such name, or no address of this family.
    Nothing { ttl: Option<Duration> },
}

/// Asks once, over UDP, and over TCP where the answer was too long for that.
pub(super) async fn ask(
    server: SocketAddr,
    name: &Fqdn,
    family: Family,
    within: Duration,
) -> Result<Reply, NameTrouble> {
    match tokio::time::timeout(within, exchange(server, name, family)).await {
        Ok(reply) => reply,
        Err(_) => Err(silent(server)),
    }
}

/// In the words that everybody uses who waited for nothing.
pub(super) fn silent(server: SocketAddr) -> NameTrouble {
    NameTrouble::silence(format!("the name server does not answer ({server})"))
}

async fn exchange(server: SocketAddr, name: &Fqdn, family: Family) -> Result<Reply, NameTrouble> {
    let broken = |error: io::Error| unreachable(server, &error);
    let question = question(name, family).ok_or_else(|| NameTrouble::new("it is no host name"))?;
    let answer = over_udp(server, &question).await.map_err(broken)?;
    let answer = if answer.header().tc() {
        over_tcp(server, &question).await.map_err(broken)?
    } else {
        answer
    };
    match answer.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => Ok(read(&answer, name, family)),
        code => Err(NameTrouble::new(format!(
            "the name server answers {code} ({server})"
        ))),
    }
}

fn unreachable(server: SocketAddr, error: &io::Error) -> NameTrouble {
    let words = error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |_| error.kind().to_string());
    // What we lack says no word of the server.
    let lack = Lack::of(error);
    let words = lack.map_or(words, |lack| lack.to_string());
    NameTrouble {
        lack,
        ..NameTrouble::new(format!(
            "the name server cannot be reached: {words} ({server})"
        ))
    }
}

fn question(name: &Fqdn, family: Family) -> Option<Message<Vec<u8>>> {
    // Whoever cannot see the question must guess the id, and the port that the kernel chose.
    let mut id = [0; 2];
    rand::fill(&mut id).ok()?;
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(u16::from_be_bytes(id));
    message.header_mut().set_rd(true);
    let mut message = message.question();
    message.push((name, family.rtype())).ok()?;
    Some(message.into_message())
}

impl Family {
    fn rtype(self) -> Rtype {
        match self {
            Self::V4 => Rtype::A,
            Self::V6 => Rtype::AAAA,
        }
    }
}

async fn over_udp(server: SocketAddr, question: &Message<Vec<u8>>) -> io::Result<Message<Vec<u8>>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: nobody else is heard, and a server that is not there is told at once.
    socket.connect(server).await?;
    socket.send(question.as_slice()).await?;
    let mut room = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut room).await?;
        // What is no answer to this question is somebody's forgery, or came too late for another.
        if let Ok(answer) = Message::from_octets(room[..length].to_vec())
            && answers(&answer, question)
        {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Message<Vec<u8>>) -> io::Result<Message<Vec<u8>>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.as_slice().len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(question.as_slice());
    stream.write_all(&bytes).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    let answer = Message::from_octets(bytes).ok();
    answer
        .filter(|answer| answers(answer, question))
        .ok_or_else(|| io::Error::other("its answer is to another question"))
}

fn answers(answer: &Message<Vec<u8>>, question: &Message<Vec<u8>>) -> bool {
    // A server that understood nothing need not repeat the question.
    let is_refusal = answer.header().qr()
        && answer.header().id() == question.header().id()
        && answer.header_counts().qdcount() == 0
        && answer.header().rcode() != Rcode::NOERROR;
    is_refusal || answer.is_answer(question)
}

fn read(answer: &Message<Vec<u8>>, asked: &Fqdn, family: Family) -> Reply {
    let Some(canonical) = answer.canonical_name() else {
        return Reply::Nothing { ttl: None };
    };
    let mut addresses = Vec::new();
    let mut ttl = Duration::MAX;
    let records = answer.answer().ok();
    let records = records.map(RecordSection::limit_to::<AllRecordData<_, _>>);
    for record in records.into_iter().flatten().filter_map(Result::ok) {
        let address: IpAddr = match record.data() {
            AllRecordData::A(it) if family == Family::V4 => A::addr(it).into(),
            AllRecordData::Aaaa(it) if family == Family::V6 => Aaaa::addr(it).into(),
            // An alias is as old as the address behind it may become.
            AllRecordData::Cname(_) => {
                ttl = ttl.min(record.ttl().into_duration());
                continue;
            }
            _ => continue,
        };
        if record.owner().name_eq(&canonical) {
            ttl = ttl.min(record.ttl().into_duration());
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    if !addresses.is_empty() {
        return Reply::Found { addresses, ttl };
    }
    let alias: Fqdn = canonical.to_name();
    if answer.header().rcode() == Rcode::NOERROR && alias != *asked {
        return Reply::Alias(alias);
    }
    Reply::Nothing {
        ttl: negative_ttl(answer),
    }
}

/// How long "there is nothing" holds (RFC 2308).
fn negative_ttl(answer: &Message<Vec<u8>>) -> Option<Duration> {
    let authority = answer.authority().ok()?;
    let mut records = authority.limit_to::<Soa<_>>();
    let record = records.next()?.ok()?;
    let minimum = record.data().minimum().into_duration();
    Some(minimum.min(record.ttl().into_duration()))
}
