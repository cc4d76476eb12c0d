//! A datastore as one host sees it: what it must enforce, and the chains that are to do it.

use felix_rs::Pipeline;
use felix_rs::datastore::yaml;
use felix_rs::rules::CompileError;
use felix_rs::sync::Desired;
use felix_rs::verdict::policy::judge::Judge;
use serde_json::Value;

use crate::case::Case;

/// A host after all documents were taken.
pub struct World {
    pipeline: Pipeline,
    pub desired: Desired,
}

impl World {
    /// Errors in documents are part of the game; chains that can't be made are not.
    pub fn of(host: &str, documents: &[Value]) -> Result<Self, CompileError> {
        let text: String = documents.iter().map(|document| format!("---\n{document}\n")).collect();
        Self::read(host, &text)
    }

    pub fn read(host: &str, manifests: &str) -> Result<Self, CompileError> {
        let mut pipeline = Pipeline::new(host.into(), Vec::new());
        for event in yaml::parse(&"generated.yaml".into(), &manifests.into()).into_events() {
            pipeline.take(&event);
        }
        let desired = pipeline.desired()?;
        Ok(Self { pipeline, desired })
    }

    pub fn of_case(case: &Case) -> Result<Self, CompileError> {
        let mut pipeline = Pipeline::new(case.host.as_str().into(), case.sources.clone());
        pipeline.see(case.uplinks.clone());
        for event in &case.events {
            pipeline.take(event);
        }
        let desired = pipeline.desired()?;
        Ok(Self { pipeline, desired })
    }

    pub fn policy(&self) -> &felix_rs::policy::HostPolicy {
        self.pipeline.policy()
    }

    pub fn config(&self) -> &felix_rs::config::Config {
        self.pipeline.config()
    }

    pub fn judge(&self) -> Judge<'_> {
        Judge::new(self.policy(), self.config())
    }
}
