//! IP sets, written and read by `ipset`. Foreign sets are never listed: their types may be unknown to our tool.

use super::tool::{Job, ToolError, Tools};
use crate::sync::is_our_set;

/// The tool.
#[derive(Clone, Debug)]
pub struct Ipsets {
    tools: Tools,
}

impl Ipsets {
    pub fn new(tools: Tools) -> Self {
        Self { tools }
    }

    /// All sets of ours, as `ipset save` prints them.
    ///
    /// # Errors
    /// The tool is not there or fails; also where a set goes while it is read.
    pub async fn save(&self) -> Result<String, ToolError> {
        // One process for all of them: to start one for each takes minutes on a large host.
        let lines: String = self.names().await?.iter().map(|name| format!("save {name}\n")).collect();
        if lines.is_empty() { Ok(lines) } else { self.run(lines, false).await }
    }

    /// The names of our sets; the kernel tells them without looking into the sets.
    ///
    /// # Errors
    /// The tool is not there or fails.
    pub async fn names(&self) -> Result<Vec<String>, ToolError> {
        let names = self.tools.ask("ipset", &["list", "-name"]).await?;
        Ok(names.lines().filter(|name| is_our_set(name)).map(str::to_owned).collect())
    }

    /// Carries out lines one by one. After an error those before it remain done.
    ///
    /// # Errors
    /// The tool is not there, or the kernel refused a line.
    pub async fn restore(&self, lines: String) -> Result<(), ToolError> {
        self.run(lines, true).await.map(drop)
    }

    async fn run(&self, lines: String, writes: bool) -> Result<String, ToolError> {
        let job = Job {
            tool: "ipset",
            arguments: &["restore"],
            input: Some(lines),
            writes,
            deadline: self.tools.deadline(),
        };
        self.tools.run(job).await
    }
}
