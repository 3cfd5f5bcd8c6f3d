//! Objects that are not topics, as clients get to see them.

use super::answer::{Change, list, update};
use super::objects::decoded;
use crate::sc::objects::{CustomSpu, SpuGroup, TableFormat};
use crate::wire::schema::metadata::spg::{SpuGroupSpec, SpuGroupStatus};
use crate::wire::schema::metadata::spu::{CustomSpuSpec, SpuStatus, SpuStatusResolution};
use crate::wire::schema::metadata::tableformat::{TableFormatSpec, TableFormatStatus};
use crate::wire::schema::sc::objects::Metadata;
use crate::wire::{EncodeError, Frame, Header};

/// A list of table formats.
pub fn list_table_formats(
    header: &Header,
    formats: &[(&String, &TableFormat)],
) -> Result<Frame, EncodeError> {
    list(header, formats.iter().map(|(name, format)| table_format(name, format)).collect())
}

/// News of table formats.
pub fn update_table_formats(
    header: &Header,
    change: &Change<'_, String, TableFormat>,
) -> Result<Frame, EncodeError> {
    update(header, change, |name, format| table_format(name, format))
}

/// A list of custom SPUs.
pub fn list_custom_spus(header: &Header, spus: &[(&String, &CustomSpu)]) -> Result<Frame, EncodeError> {
    list(header, spus.iter().map(|(name, spu)| custom_spu(name, spu)).collect())
}

/// News of custom SPUs.
pub fn update_custom_spus(
    header: &Header,
    change: &Change<'_, String, CustomSpu>,
) -> Result<Frame, EncodeError> {
    update(header, change, |name, spu| custom_spu(name, spu))
}

/// A list of groups of SPUs.
pub fn list_spu_groups(header: &Header, groups: &[(&String, &SpuGroup)]) -> Result<Frame, EncodeError> {
    list(header, groups.iter().map(|(name, group)| spu_group(name, group)).collect())
}

/// News of groups of SPUs.
pub fn update_spu_groups(
    header: &Header,
    change: &Change<'_, String, SpuGroup>,
) -> Result<Frame, EncodeError> {
    update(header, change, |name, group| spu_group(name, group))
}

fn table_format(name: &str, format: &TableFormat) -> Metadata<TableFormatSpec> {
    Metadata { name: name.into(), spec: decoded(&format.spec), status: TableFormatStatus::default() }
}

fn custom_spu(name: &str, spu: &CustomSpu) -> Metadata<CustomSpuSpec> {
    let status = SpuStatus { resolution: SpuStatusResolution::Offline };
    Metadata { name: name.into(), spec: decoded(&spu.spec), status }
}

fn spu_group(name: &str, group: &SpuGroup) -> Metadata<SpuGroupSpec> {
    let spec = SpuGroupSpec { replicas: group.n_spus, min_id: group.min_id, ..Default::default() };
    Metadata { name: name.into(), spec, status: SpuGroupStatus::reserved() }
}
