use super::parts::parts;
use super::reading;

/// More files would only be more of the same.
const MOST: usize = 6;

/// A settings file and its drop-ins (the parts behind the first): all that `settings` holds, and that the order of the
/// drop-ins has no say in what they mean, since none of them may say again what another has said.
pub fn hold(bytes: &[u8]) {
    let parts = parts(bytes);
    let (main, drop_ins) = parts.split_first().expect("one part at least");
    let drop_ins = &drop_ins[..drop_ins.len().min(MOST)];
    let read = reading::hold(main, drop_ins);
    let turned: Vec<&[u8]> = drop_ins.iter().rev().copied().collect();
    let turned = reading::hold(main, &turned);
    assert_eq!(
        read, turned,
        "the drop-ins mean something else the other way round"
    );
}
