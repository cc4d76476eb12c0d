//! A host as it is seen from outside: what it would be programmed with, and what is said about it.

use std::fmt::Write;
use std::sync::Arc;

use felix_rs::Pipeline;
use felix_rs::config::Source;
use felix_rs::datastore::Event;
use felix_rs::routes::{RouteSet, Uplinks};
use felix_rs::rules::CompileError;
use felix_rs::sync::routes::{self, ProgrammedRoutes};
use felix_rs::sync::{Desired, Plan, Programmed, plan};
use libtest_mimic::Failed;
use similar::TextDiff;

/// A pipeline, and a kernel that is programmed with whatever comes out of it.
pub struct Host {
    pipeline: Pipeline,
    programmed: Programmed,
    routes: ProgrammedRoutes,
}

impl Host {
    pub fn new(name: &str, sources: Vec<Source>, uplinks: Uplinks) -> Self {
        let mut pipeline = Pipeline::new(name.into(), sources);
        pipeline.see(uplinks);
        Self { pipeline, programmed: Programmed::default(), routes: ProgrammedRoutes::default() }
    }

    pub fn take(&mut self, event: &Event) {
        self.pipeline.take(event);
    }

    /// Settles and programs the kernel. A plan that has to be followed by another one is an error.
    pub fn settle(&mut self) -> Result<(), Failed> {
        self.desired().map(drop)
    }

    /// Settles, and gives what the kernel would be given.
    pub fn texts(&mut self) -> Result<String, Failed> {
        Ok(seen(&self.desired()?, false))
    }

    /// Settles, and gives everything that can be seen as one text.
    pub fn observe(&mut self) -> Result<String, Failed> {
        let mut seen = seen(&self.desired()?, true);
        for diagnostic in self.pipeline.diagnostics() {
            writeln!(seen, "{diagnostic:?}")?;
        }
        Ok(seen)
    }

    fn desired(&mut self) -> Result<Result<Desired, CompileError>, Failed> {
        let desired = self.pipeline.desired();
        if let Ok(desired) = &desired {
            self.program(desired)?;
        }
        Ok(desired)
    }

    fn program(&mut self, desired: &Desired) -> Result<(), Failed> {
        if let Some(wanted) = &desired.routes {
            let changes = routes::plan(wanted, &self.routes);
            self.routes = std::mem::take(&mut self.routes).after(&changes);
            let rest = routes::plan(wanted, &self.routes);
            if !rest.is_empty() {
                let (changes, rest) = (changes.text(), rest.text());
                return Err(format!("routes that leave something to do:\n{changes}\nnamely:\n{rest}").into());
            }
        }
        let changes = plan(desired, &self.programmed);
        self.programmed = std::mem::take(&mut self.programmed).after(&changes);
        let rest = plan(desired, &self.programmed);
        if rest.is_empty() {
            return Ok(());
        }
        Err(format!("a plan that leaves something to do:\n{}\nnamely:\n{}", text(&changes), text(&rest))
            .into())
    }
}

/// The two texts are equal, or the error shows where they are not.
pub fn same(how: &str, expected: &str, found: &str) -> Result<(), Failed> {
    if expected == found {
        return Ok(());
    }
    let diff = TextDiff::from_lines(expected, found);
    Err(format!("{how}:\n{}", diff.unified_diff().header("expected", "found")).into())
}

fn text(plan: &Plan) -> String {
    plan.steps().map(|step| step.text()).collect()
}

fn seen(desired: &Result<Desired, CompileError>, with_reasons: bool) -> String {
    match desired {
        Ok(desired) => {
            let reasons = if with_reasons { route_reasons(desired) } else { String::new() };
            text(&plan(desired, &Programmed::default())) + &route_text(desired) + &reasons
        }
        Err(error) => format!("refused: {error}\n"),
    }
}

/// What a kernel without routes is given.
fn route_text(desired: &Desired) -> String {
    let plan = |wanted: &Arc<RouteSet>| routes::plan(wanted, &ProgrammedRoutes::default()).text();
    desired.routes.as_ref().map(plan).unwrap_or_default()
}

/// Why each route is wanted, and what is wanted and not made.
fn route_reasons(desired: &Desired) -> String {
    let Some(wanted) = &desired.routes else { return String::new() };
    let reasons = wanted.routes.values().map(|route| format!("{} {}\n", route.route, route.provenance));
    let held = wanted.held_back.iter().map(|held| format!("{held}\n"));
    reasons.chain(held).collect()
}
