//! The way out that an exporter URL names.

use super::StartError;
use crate::config::env::Variables;
use crate::config::{Effective, Settings, Target};
use crate::pipeline::Sink;
#[cfg(feature = "_client")]
use crate::sink::SinkError;
#[cfg(feature = "file")]
use crate::sink::file::FileSink;
#[cfg(feature = "grpc")]
use crate::sink::grpc::GrpcSink;
#[cfg(feature = "http")]
use crate::sink::http::HttpSink;

#[cfg_attr(
    not(feature = "_client"),
    expect(
        unused_variables,
        reason = "only connections have headers and certificates, which may be in variables"
    )
)]
pub(super) fn sink(
    effective: &Effective,
    settings: Settings<'_>,
    variables: Variables<'_>,
) -> Result<Box<dyn Sink>, StartError> {
    let url = settings.exporter_url();
    let target = url.to_string();
    #[cfg(feature = "_client")]
    let options = settings.export_options(variables)?;
    match url.target() {
        #[cfg(feature = "grpc")]
        Target::Grpc { .. } | Target::GrpcUnix { .. } => {
            match GrpcSink::new(&url.authority(), &options, target.clone()) {
                Ok(sink) => Ok(Box::new(sink)),
                Err(error) => Err(unusable(error, &target, effective)),
            }
        }
        #[cfg(not(feature = "grpc"))]
        Target::Grpc { .. } | Target::GrpcUnix { .. } => Err(built_without("grpc", &target)),
        #[cfg(feature = "http")]
        Target::Http { path, .. } | Target::HttpUnix { path, .. } => {
            match HttpSink::new(&url.authority(), path, &options, target.clone()) {
                Ok(sink) => Ok(Box::new(sink)),
                Err(error) => Err(unusable(error, &target, effective)),
            }
        }
        #[cfg(not(feature = "http"))]
        Target::Http { .. } | Target::HttpUnix { .. } => Err(built_without("http", &target)),
        #[cfg(feature = "file")]
        Target::File { directory, limit } => {
            Ok(Box::new(FileSink::new(directory.clone(), *limit, target)))
        }
        #[cfg(not(feature = "file"))]
        Target::File { .. } => Err(built_without("file", &target)),
    }
}

#[cfg(feature = "_client")]
fn unusable(error: SinkError, target: &str, effective: &Effective) -> StartError {
    match error {
        SinkError::Tls(problems) => {
            let problems = problems.iter().map(|problem| effective.attribute(problem));
            StartError::Certificates(problems.collect::<Vec<_>>().join("\n"))
        }
        error => StartError::Unsupported(format!("{target}: {error}")),
    }
}

#[cfg(not(all(feature = "grpc", feature = "http", feature = "file")))]
fn built_without(feature: &str, target: &str) -> StartError {
    StartError::Unsupported(format!(
        "{target}: this program was built without the feature \"{feature}\" of tower-otlp",
    ))
}
