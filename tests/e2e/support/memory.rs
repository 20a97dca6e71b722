//! What a process holds of memory, as the kernel counts it.

/// Of one process.
pub(crate) struct Memory {
    pid: u32,
    before: u64,
}

impl Memory {
    /// From now on growth is counted, and the peak forgotten.
    ///
    /// # Panics
    /// When the process is not ours.
    pub(crate) fn watch(pid: u32) -> Self {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        let before = kibibytes(pid, "VmRSS:");
        Self { pid, before }
    }

    /// The most that it held since, above what it held then, in KiB.
    pub(crate) fn growth(&self) -> u64 {
        kibibytes(self.pid, "VmHWM:").saturating_sub(self.before)
    }
}

fn kibibytes(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().trim().split(' ').next().unwrap();
    number.parse().unwrap()
}
