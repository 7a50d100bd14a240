//! What can be configured about an engine: threads, and the bound of every queue.

/// The configuration of an [`Engine`](super::Engine). A 0 counts as 1.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Threads that read. More help where many values are large, or not in the page cache. Default: 2.
    pub reader_threads: usize,
    /// Reads that wait for a thread or whose answer nobody has taken yet. Default: 1024.
    pub max_queued_reads: usize,
    /// Writes that wait to be committed. Default: 4096.
    pub max_queued_writes: usize,
    /// The bytes that those writes hold; a longer write is taken when it is alone. At most 4 GiB. Default:
    /// 256 MiB, four of the longest values.
    pub max_queued_write_bytes: usize,
    /// Writes that share one commit. More would not make it much cheaper for each. Default: 1024.
    pub max_batch_writes: usize,
    /// The bytes of writes that share one commit: what the others wait for. Default: 16 MiB.
    pub max_batch_bytes: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            reader_threads: 2,
            max_queued_reads: 1024,
            max_queued_writes: 4096,
            max_queued_write_bytes: 256 << 20,
            max_batch_writes: 1024,
            max_batch_bytes: 16 << 20,
        }
    }
}
