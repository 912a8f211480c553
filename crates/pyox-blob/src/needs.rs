//! The order in which shared objects are loaded: what an object needs comes before it, and objects that need each other
//! come together. Costs time and memory linear in the needs that are reached; nothing is recursive.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Groups of objects to load, one group after the other; `number` is in the last. A group of several is a circle.
pub(crate) fn order<E>(
    number: u32,
    mut needs: impl FnMut(u32) -> Result<Vec<u32>, E>,
) -> Result<Vec<Vec<u32>>, E> {
    let mut groups = Vec::new();
    // Tarjan's algorithm: an object leads a group if nothing that it reaches reaches further back than itself.
    let mut found: BTreeMap<u32, Found> = BTreeMap::new();
    let mut open: Vec<u32> = Vec::new();
    let mut path = vec![Step { object: number, pending: Vec::new(), back: 0 }];
    while let Some(step) = path.last_mut() {
        let count = found.len();
        if let Entry::Vacant(entry) = found.entry(step.object) {
            entry.insert(Found { place: count, is_open: true });
            open.push(step.object);
            step.back = count;
            step.pending = needs(step.object)?;
            // They are taken from the end.
            step.pending.reverse();
        }
        if let Some(need) = step.pending.pop() {
            match found.get(&need) {
                Some(Found { place, is_open: true }) => step.back = step.back.min(*place),
                Some(_) => {}
                None => path.push(Step { object: need, pending: Vec::new(), back: 0 }),
            }
            continue;
        }
        let (object, back) = (step.object, step.back);
        path.pop();
        if let Some(user) = path.last_mut() {
            user.back = user.back.min(back);
        }
        if found[&object].place == back {
            let start = open.iter().rposition(|&other| other == object).unwrap_or(0);
            let group = open.split_off(start);
            for member in &group {
                if let Some(member) = found.get_mut(member) {
                    member.is_open = false;
                }
            }
            groups.push(group);
        }
    }
    Ok(groups)
}

/// An object whose needs are being looked at.
struct Step {
    object: u32,
    pending: Vec<u32>,
    /// The earliest place that it reaches.
    back: usize,
}

struct Found {
    /// How many were found before.
    place: usize,
    /// Whether its group is not known yet.
    is_open: bool,
}

#[cfg(test)]
mod tests {
    use super::order;

    fn groups(needs: &[&[u32]]) -> Vec<Vec<u32>> {
        let all = |number: u32| Ok::<_, ()>(needs[number as usize].to_vec());
        order(0, all)
            .unwrap()
            .into_iter()
            .map(|mut group| {
                group.sort_unstable();
                group
            })
            .collect()
    }

    #[test]
    fn needs_come_first_and_in_their_order() {
        assert_eq!(groups(&[&[2, 1], &[], &[1]]), [[1], [2], [0]]);
        assert_eq!(groups(&[&[1, 2], &[], &[]]), [[1], [2], [0]]);
        assert_eq!(groups(&[&[0]]), [[0]]);
    }

    #[test]
    fn circles_come_together() {
        assert_eq!(groups(&[&[1], &[2], &[3], &[1]]), [vec![1, 2, 3], vec![0]]);
        assert_eq!(
            groups(&[&[1, 3], &[2], &[1], &[4], &[3, 2]]),
            [vec![1, 2], vec![3, 4], vec![0]]
        );
        assert_eq!(groups(&[&[1], &[0, 2], &[]]), [vec![2], vec![0, 1]]);
    }

    #[test]
    fn a_long_chain_is_no_recursion() {
        let end = 200_000;
        let chain =
            |number: u32| Ok::<_, ()>(if number < end { vec![number + 1] } else { vec![0] });
        assert_eq!(order(0, chain).unwrap().len(), 1);
    }
}
