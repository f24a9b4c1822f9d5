//! stub
use policy_core::*;
pub struct Engine; #[derive(Clone, Debug)] pub struct Compiler { pub program: std::path::PathBuf, pub args: Vec<String> }
#[derive(Clone, Debug, Default)] pub struct Limits {}
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct EngineError; #[derive(Debug, thiserror::Error)] #[error("x")] pub struct LoadError;
pub struct Policy { m: manifest::Manifest }
#[derive(Clone, Debug)] pub struct Call { pub result: Result<decision::Answer, guest_fault::GuestFault>, pub fuel_used: u64 }
pub struct Track; impl Track { pub fn text(&self) -> &'static str { "" } }
impl Engine { pub fn new(_: &Limits, _: &Compiler, _: &std::path::Path) -> Result<Self, EngineError> { Err(EngineError) } pub fn load(&self, _: &[u8]) -> Result<Policy, LoadError> { Err(LoadError) } pub fn engine_id(&self) -> String { String::new() } }
impl Policy { pub fn manifest(&self) -> &manifest::Manifest { &self.m } pub fn track(&self) -> Track { Track } pub fn decide(&self, _: &context::Context, _: Option<&decision::Decision>) -> Call { loop {} } }
