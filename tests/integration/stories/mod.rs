//! Promises that need many parts at once, told as stories on real parts.

mod crash;
mod import;
mod load;
mod machine;

use weir::model::{BuildConfigSpec, Source, config_inputs};
use weir::server::builder::dockerfile;
use weir::server::store::ConfigFields;

/// A build config of nothing but a Dockerfile, which makes the stream of its own name. It builds when an image it takes in moves.
fn inline_config(project: &str, name: &str, text: &str) -> ConfigFields {
    let spec = BuildConfigSpec {
        source: Source { dockerfile: Some(text.to_owned()), ..Source::default() },
        strategy_from: None,
        build_args: Vec::new(),
        env: Vec::new(),
        no_cache: false,
        output_stream: name.parse().expect("a name"),
        output_tag: "latest".parse().expect("a name"),
    };
    let found = dockerfile::inputs(text, &[]).expect("a Dockerfile");
    ConfigFields {
        labels: "{}".to_owned(),
        annotations: "{}".to_owned(),
        inputs: Some(config_inputs(&spec, &found, project, &[])),
        spec,
        image_trigger: true,
        config_trigger: true,
        paused: false,
    }
}
