//! Any records and changes, from few names so that they meet.

use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::install::{Attributes, Kept, Placement, Site};
use crate::settings::{ServiceName, WatchName};

fn any_identity() -> impl Strategy<Value = Identity> {
    prop::sample::select(vec!["a", "b", "c 'quoted'", ""]).prop_map(identity)
}

fn any_target() -> impl Strategy<Value = TargetPath> {
    prop::sample::select(vec!["/etc/x", "/etc/y"]).prop_map(target)
}

fn any_watch() -> impl Strategy<Value = WatchName> {
    prop::sample::select(vec!["certificates", "/etc/one.conf", "watch:x"]).prop_map(WatchName::from)
}

fn any_service() -> impl Strategy<Value = ServiceName> {
    prop::sample::select(vec!["nginx", "shop"]).prop_map(|name| ServiceName(name.into()))
}

fn any_digest() -> impl Strategy<Value = Digest> {
    (0u8..6).prop_map(|byte| Digest::of(&[byte]))
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    // Near together so that they tie, and any with nanoseconds.
    prop_oneof![
        (0i64..4).prop_map(at),
        (-60_000_000_000i64..200_000_000_000, 0i32..1_000_000_000)
            .prop_map(|(seconds, nanos)| Timestamp::new(seconds, nanos).unwrap_or_default()),
    ]
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    let all = (any::<u32>(), any::<u32>(), 0u32..=1, of(any::<u8>()));
    all.prop_map(|(uid, gid, mode, attribute)| Metadata {
        uid,
        gid,
        mode: 0o640 + mode,
        attributes: attributes(attribute),
    })
}

fn attributes(value: Option<u8>) -> Attributes {
    let held = value.map(|value| ("user.note", BASE64_STANDARD.encode([value])));
    let held = serde_json::to_value(
        held.into_iter()
            .collect::<std::collections::BTreeMap<_, _>>(),
    )
    .unwrap();
    serde_json::from_value(held).unwrap()
}

fn any_version() -> impl Strategy<Value = Version> {
    let text = of(".{0,6}");
    (
        any_digest(),
        text.clone(),
        text,
        0..=i64::MAX as u64,
        any_time(),
    )
        .prop_map(|(digest, label, content_type, size, since)| Version {
            digest,
            label,
            content_type,
            size,
            since,
        })
}

fn any_session() -> impl Strategy<Value = SavedSession> {
    let duration = (any::<u64>(), 0u32..1_000_000_000);
    (".{0,8}", any_time(), any::<bool>(), duration, any::<bool>()).prop_map(
        |(token, issued_at, sent, (seconds, nanos), fresh)| SavedSession {
            token: SavedToken(token.into()),
            issued_at,
            sent,
            interval: Duration::new(seconds, nanos),
            fresh,
        },
    )
}

fn any_intent() -> impl Strategy<Value = Intent> {
    let direction = prop_oneof![
        Just(Direction::Forward),
        Just(Direction::Standing),
        ".{0,6}".prop_map(|reason| Direction::Back { reason }),
    ];
    let kept = prop_oneof![Just(Kept::Absent), "[a-z]{3}".prop_map(Kept::Name)];
    let placement = (any_target(), "[a-z]{3}", kept, any_digest(), any_metadata()).prop_map(
        |(target, staged, kept, digest, metadata)| Placement {
            target,
            site: Site::default(),
            staged,
            kept,
            digest,
            metadata,
        },
    );
    let service = (
        btree_map(any_target(), of(any_digest()), 0..3),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(acknowledged, ran, notified, failing, spared)| IntentService {
                acknowledged,
                ran,
                notified,
                failing,
                spared,
            },
        );
    (
        prop_oneof![0u64..3, Just(u64::MAX)],
        direction,
        any::<u32>(),
        any_time(),
        btree_map(any_identity(), any_version(), 0..3),
        vec(placement, 0..3),
        btree_map(any_service(), service, 0..3),
    )
        .prop_map(
            |(id, direction, attempts, opened_at, profiles, placements, services)| Intent {
                id,
                direction,
                attempts,
                opened_at,
                profiles,
                placements,
                services,
                before: crate::ledger::Before::default(),
                holds: Default::default(),
            },
        )
}

fn any_quarantine() -> impl Strategy<Value = Quarantine> {
    (
        btree_map(any_target(), any_digest(), 0..3),
        any_digest(),
        btree_map(any_identity(), any_digest(), 0..4),
        ".{0,6}",
        any_time(),
    )
        .prop_map(|(outcome, services, profiles, reason, since)| Quarantine {
            outcome,
            services,
            profiles,
            reason,
            since,
        })
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    (0u8..12, 0usize..60).prop_map(|(byte, length)| Bytes::from(vec![byte; length]))
}

pub(super) fn any_change() -> impl Strategy<Value = Change> {
    let poll = (any_time(), any_time()).prop_map(|(last, next)| Poll { last, next });
    let refusal =
        (any_digest(), ".{0,6}", any_time()).prop_map(|(digest, reason, since)| Refusal {
            digest,
            reason,
            since,
        });
    let installed = (
        any_digest(),
        any_metadata(),
        any_time(),
        btree_map(any_service(), any_digest(), 0..2),
    )
        .prop_map(|(digest, metadata, since, parts)| Installed {
            digest,
            metadata,
            since,
            parts,
        });
    let seconds = || (0u64..1 << 40, 0u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n));
    let retry = (any::<u32>(), seconds(), any_time(), seconds(), any_digest()).prop_map(
        |(failures, trying, last, pause, definition)| Retry {
            failures,
            trying,
            last,
            pause,
            definition,
        },
    );
    let condition = prop::sample::select(vec![
        ServiceCondition::Acknowledged,
        ServiceCondition::Pending,
        ServiceCondition::Failed,
        ServiceCondition::NotRunning,
    ]);
    let record = (condition, any_time(), ".{0,6}").prop_map(|(condition, since, last_result)| {
        ServiceRecord {
            condition,
            since,
            last_result,
        }
    });
    let hold = || (any_time(), of(any_time())).prop_map(|(since, until)| Hold { since, until });
    let held = (any_version(), hold()).prop_map(|(version, hold)| HeldProfile { version, hold });
    let file = (any_target(), any_bytes(), 0u32..2, any_time());
    prop_oneof![
        2 => (any_identity(), of(any_session()), of(poll))
            .prop_map(|(identity, session, poll)| Change::Session { identity, session, poll }),
        8 => (any_identity(), any_bytes(), of(".{0,4}"), of(".{0,4}"), any_time())
            .prop_map(|(identity, bytes, content_type, label, at)| Change::Received {
                identity, configuration: Configuration::new(bytes, content_type, label), at,
            }),
        2 => (any_identity(), any_version())
            .prop_map(|(identity, version)| Change::Accepted { identity, version: Some(version) }),
        1 => (any_identity(), of(refusal))
            .prop_map(|(identity, refusal)| Change::Refused { identity, refusal }),
        1 => (any_target(), of(installed))
            .prop_map(|(target, installed)| Change::Installed { target, installed }),
        2 => (any_service(), any_target(), of(any_digest()))
            .prop_map(|(service, target, digest)| Change::Acknowledged { service, target, digest }),
        1 => (any_service(), any_target())
            .prop_map(|(service, target)| Change::AcknowledgementDropped { service, target }),
        2 => (any_service(), any_watch(), of(any_digest()))
            .prop_map(|(service, watch, digest)| Change::WatchAcknowledged { service, watch, digest }),
        1 => (any_watch(), any_time()).prop_map(|(watch, at)| Change::WatchChanged { watch, at }),
        1 => (any_service(), any_watch())
            .prop_map(|(service, watch)| Change::WatchDropped { service, watch }),
        1 => (any_service(), of(record))
            .prop_map(|(service, record)| Change::Service { service, record }),
        1 => (any_service(), any_time()).prop_map(|(service, at)| Change::Notified { service, at }),
        1 => (any_service(), of(any_time()))
            .prop_map(|(service, since)| Change::Waits { service, since }),
        1 => (any_service(), of(retry))
            .prop_map(|(service, retry)| Change::Retried { service, retry }),
        2 => any_intent().prop_map(Change::Intent),
        1 => prop_oneof![0u64..3, Just(u64::MAX)].prop_map(|id| Change::IntentClosed { id }),
        5 => any_quarantine().prop_map(Change::Quarantined),
        1 => any_identity().prop_map(|identity| Change::QuarantineLifted { identity }),
        1 => any_identity().prop_map(|identity| Change::ProfileForgotten { identity }),
        1 => any_target().prop_map(|target| Change::TargetForgotten { target }),
        1 => (any_identity(), of(held))
            .prop_map(|(identity, held)| Change::ProfileHeld { identity, held }),
        1 => (any_target(), of(hold()))
            .prop_map(|(target, hold)| Change::TargetHeld { target, hold }),
        2 => (any_service(), of(any_target()), any_time(), "[a-z]{0,3}").prop_map(
            |(service, target, at, output)| Change::Ran(CommandRun {
                whose: target.map_or(RunFor::Service(service), RunFor::Target),
                what: "check".to_owned(),
                at,
                command: "true".to_owned(),
                outcome: "exited with status 0".to_owned(),
                output,
            })),
        5 => file.prop_map(|(target, bytes, mode, at)| Change::FileKept {
            file: FoundFile {
                target, digest: Digest::of(&bytes), size: bytes.len() as u64,
                metadata: Metadata { uid: 0, gid: 0, mode, attributes: crate::install::Attributes::default(), }, at, reason: "edited".to_owned(),
            },
            bytes,
        }),
    ]
}
