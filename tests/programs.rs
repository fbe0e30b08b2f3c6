//! Compiled mappings built by hand, without YAML.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::compile::rule::Chain;
use engine::compile::{
    BaseKind, DeletePolicy, DeletedWhen, Document, Drift, FieldProgram, Limits, Policy, Program, Reading, SideProgram,
    Way,
};
use engine::connector::Access;
use engine::diagnostic::{Place, Span};
use engine::record::{Both, Field, Kind, Shape, Side};

/// A place for programs that were never written down.
pub(crate) fn nowhere() -> Place {
    Place::new(Arc::from(Path::new("test.yaml")), Span::default())
}

/// What a test says of one field.
#[derive(Debug, Clone)]
pub(crate) struct FieldSpec {
    pub(crate) slots: Both<usize>,
    pub(crate) kinds: Both<Kind>,
    /// To which sides it is written.
    pub(crate) writes: Both<bool>,
    pub(crate) policy: Policy,
    pub(crate) drift: Drift,
    pub(crate) required: bool,
    pub(crate) create_only: bool,
}

impl FieldSpec {
    /// A direct copy in both directions between slots of any kind.
    pub(crate) fn copy(slot: usize) -> FieldSpec {
        FieldSpec {
            slots: Both::new(slot, slot),
            kinds: Both::new(Kind::Any, Kind::Any),
            writes: Both::new(true, true),
            policy: Policy::Manual,
            drift: Drift::Keep,
            required: false,
            create_only: false,
        }
    }

    pub(crate) fn build(&self) -> FieldProgram {
        let toward = Both::from_fn(|side| {
            self.writes[side].then(|| Way {
                empty_is_null: false,
                rules: Chain::default(),
                kind: self.kinds[side].clone(),
                slot: self.slots[side],
                document: Document::Kept,
            })
        });
        FieldProgram {
            name: format!("f{}", self.slots.target),
            place: nowhere(),
            read: Both::from_fn(|side| Reading::Slot(self.slots[side])),
            toward,
            normal: Both::new(Chain::default(), Chain::default()),
            equal: Chain::default(),
            policy: self.policy,
            drift: self.drift,
            required: self.required,
            create_only: self.create_only,
        }
    }

    /// The same field of the mirrored mapping.
    pub(crate) fn mirror(&self) -> FieldSpec {
        FieldSpec {
            slots: self.slots.swap(),
            kinds: self.kinds.clone().swap(),
            writes: self.writes.swap(),
            policy: mirrored(self.policy),
            ..self.clone()
        }
    }
}

/// The same policy of a mapping whose sides are exchanged.
pub(crate) fn mirrored(policy: Policy) -> Policy {
    match policy {
        Policy::Source => Policy::Target,
        Policy::Target => Policy::Source,
        other => other,
    }
}

/// What a test says of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct ProgramSpec {
    pub(crate) fields: Vec<FieldSpec>,
    pub(crate) first: Option<Policy>,
    pub(crate) record_policy: Policy,
    pub(crate) may_create: Both<bool>,
    pub(crate) may_update: Both<bool>,
    pub(crate) deletes: Both<DeletePolicy>,
    pub(crate) bases: BaseKind,
}

impl ProgramSpec {
    pub(crate) fn new(fields: Vec<FieldSpec>) -> ProgramSpec {
        ProgramSpec {
            fields,
            first: None,
            record_policy: Policy::Manual,
            may_create: Both::new(true, true),
            may_update: Both::new(true, true),
            deletes: Both::new(DeletePolicy::Ignore, DeletePolicy::Ignore),
            bases: BaseKind::Values,
        }
    }

    pub(crate) fn build(&self) -> Program {
        let sides = Both::from_fn(|side| SideProgram {
            connection: side.name().to_owned(),
            access: Access {
                object: format!("{side}_records"),
                shape: Arc::new(self.shape(side)),
                key: vec![0],
                cursor: None,
                filter: None,
                start: None,
                marked: None,
                batch: 100,
            },
            overlap: Duration::ZERO,
            modified: None,
            zone: chrono_tz::Tz::UTC,
            deleted: DeletedWhen::Unknown,
            when: None,
            read: true,
            may_create: self.may_create[side],
            may_update: self.may_update[side],
            deletes: self.deletes[side].clone(),
            key_fields: vec![None],
            key_is_unique: false,
        });
        Program {
            grain_nanos: 0,
            name: Arc::from("test"),
            place: nowhere(),
            sides,
            fields: self.fields.iter().map(FieldSpec::build).collect(),
            matching: Vec::new(),
            first: self.first,
            default: None,
            record_policy: self.record_policy,
            bases: self.bases,
            limits: Limits::default(),
        }
    }

    /// The key, then a slot for each field.
    fn shape(&self, side: Side) -> Shape {
        let mut fields = vec![Field::new("id", Kind::Integer { bits: 64 })];
        fields.extend(self.fields.iter().map(|field| {
            let name = format!("f{}", field.slots[side]);
            Field::new(&name, field.kinds[side].clone())
        }));
        Shape { fields }
    }

    /// The mapping with its sides exchanged.
    pub(crate) fn mirror(&self) -> ProgramSpec {
        ProgramSpec {
            fields: self.fields.iter().map(FieldSpec::mirror).collect(),
            first: self.first.map(mirrored),
            record_policy: mirrored(self.record_policy),
            may_create: self.may_create.swap(),
            may_update: self.may_update.swap(),
            deletes: self.deletes.clone().swap(),
            bases: match self.bases {
                BaseKind::Values => BaseKind::Values,
                BaseKind::Digests { written } => BaseKind::Digests { written: written.other() },
            },
        }
    }
}
