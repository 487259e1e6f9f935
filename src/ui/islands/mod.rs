//! All that runs in the browser. An island is the smallest thing that moves: the shell mounts each once, the page around it is the
//! server's HTML, marked with `data-` attributes that say what may change. On the server an island renders what should stand there
//! when no script runs.

mod copy_buttons;
mod live_status;
mod log_tail;
mod relative_times;

#[cfg(feature = "hydrate")]
mod browser;
#[cfg(feature = "hydrate")]
mod fresh;
#[cfg(feature = "hydrate")]
mod stream;

#[cfg(feature = "ssr")]
mod scripts;

pub use copy_buttons::CopyButtons;
pub use live_status::LiveStatus;
pub use log_tail::LogTail;
pub use relative_times::RelativeTimes;

#[cfg(feature = "ssr")]
pub use scripts::IslandScripts;
