//! How spans wait: `OTEL_BSP_*`.

use super::{Environment, Reader, milliseconds, whole_number, within};
use crate::config::section::quantity::{MAX_BATCH_SPANS, MAX_DELAY};

pub(super) fn read(reader: &mut Reader<'_>, environment: &mut Environment) {
    environment.max_delay =
        reader.one("OTEL_BSP_SCHEDULE_DELAY", |text| milliseconds(text, &MAX_DELAY));
    environment.max_batch_spans = reader.one("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", |text| {
        within(&MAX_BATCH_SPANS, whole_number(text)?)
    });
}
