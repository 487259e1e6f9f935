//! Promises that need many parts at once, told as stories on real parts.

mod crash;
mod decisions;
mod freezes;
mod import;
pub mod load;
mod machine;

use weir::model::{BuildConfigSpec, Source};
use weir::server::builder::dockerfile;
use weir::server::store::ConfigFields;

/// A build config of nothing but a Dockerfile, which makes the stream of its own name. It builds when an image it takes in moves.
pub fn inline_config(project: &str, name: &str, text: &str) -> ConfigFields {
    let source = Source { dockerfile: Some(text.to_owned()), ..Source::default() };
    let spec = BuildConfigSpec::new(source, name.parse().expect("a name"), "latest".parse().expect("a name"));
    let inputs = dockerfile::known_inputs(&spec, project, &[]).expect("a Dockerfile");
    ConfigFields::new(spec, inputs)
}
