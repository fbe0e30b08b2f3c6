//! An order in which everything comes after what it waits for.

/// Sorts nodes so that each comes after those it points to, and otherwise keeps
/// their order. Also each circle found, as the nodes along it; every node is in
/// the order even so.
pub(super) fn sort(edges: &[Vec<usize>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; edges.len()];
    let (mut order, mut circles) = (Vec::with_capacity(edges.len()), Vec::new());
    // The path that is being followed: each node, and how many of its edges are.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for start in 0..edges.len() {
        if states[start] == State::New {
            states[start] = State::Open;
            path.push((start, 0));
        }
        while let Some((node, taken)) = path.last_mut() {
            let node = *node;
            let Some(&next) = edges[node].get(*taken) else {
                states[node] = State::Done;
                order.push(node);
                path.pop();
                continue;
            };
            *taken += 1;
            match states[next] {
                State::Done => {}
                State::New => {
                    states[next] = State::Open;
                    path.push((next, 0));
                }
                State::Open => {
                    let from = path.iter().position(|(open, _)| *open == next).unwrap_or(0);
                    circles.push(path[from..].iter().map(|(open, _)| *open).collect());
                }
            }
        }
    }
    (order, circles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_comes_first() {
        assert_eq!(sort(&[vec![2], vec![], vec![1]]), (vec![1, 2, 0], vec![]));
        assert_eq!(sort(&[vec![], vec![], vec![]]), (vec![0, 1, 2], vec![]));
    }

    #[test]
    fn circles_are_told() {
        assert_eq!(sort(&[vec![1], vec![2], vec![1]]), (vec![2, 1, 0], vec![vec![1, 2]]));
        assert_eq!(sort(&[vec![0]]), (vec![0], vec![vec![0]]));
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let edges: Vec<Vec<usize>> = (1..=200_000).map(|n| if n < 200_000 { vec![n] } else { vec![] }).collect();
        let (order, circles) = sort(&edges);
        assert_eq!((order[0], order.len(), circles.len()), (199_999, 200_000, 0));
    }
}
