//! Where the nodes of a layer stand: each as near to where it wants to be as those beside it allow.

/// A node's wish: the middle where it wants to be, and how much that counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// Where.
    pub at: f64,
    /// How much; above 0.
    pub weight: f64,
}

/// Returns the places nearest to the wishes (least squares) that keep the order and these distances.
///
/// `apart[i]` is the least distance from `i` to `i + 1`. Pool-adjacent-violators: linear, exact.
pub fn spread(wishes: &[Wish], apart: &[f64]) -> Vec<f64> {
    // Without the distances, only the order has to hold.
    let mut offset = 0.0;
    let mut offsets = Vec::with_capacity(wishes.len());
    for at in 0..wishes.len() {
        offsets.push(offset);
        offset += apart.get(at).copied().unwrap_or(0.0);
    }
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (wish, offset) in wishes.iter().zip(&offsets) {
        let mut pool = ((wish.at - offset) * wish.weight, wish.weight, 1);
        while let Some(&(sum, weight, members)) = pools.last()
            && sum / weight > pool.0 / pool.1
        {
            pools.pop();
            pool = (pool.0 + sum, pool.1 + weight, pool.2 + members);
        }
        pools.push(pool);
    }
    let places = pools.iter().flat_map(|(sum, weight, members)| std::iter::repeat_n(sum / weight, *members));
    places.zip(offsets).map(|(place, offset)| place + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_the_same_place_stands_around_it() {
        let wish = |at| Wish { at, weight: 1.0 };
        assert_eq!(spread(&[wish(10.0), wish(10.0)], &[4.0]), [8.0, 12.0]);
        assert_eq!(spread(&[wish(0.0), wish(10.0)], &[4.0]), [0.0, 10.0]);
        // The wrong way round: the order stays.
        assert_eq!(spread(&[wish(10.0), wish(0.0), wish(20.0)], &[4.0, 4.0]), [3.0, 7.0, 20.0]);
        assert_eq!(spread(&[], &[]), Vec::<f64>::new());
    }

    #[test]
    fn a_wish_that_counts_more_is_met_more() {
        let places = spread(&[Wish { at: 0.0, weight: 3.0 }, Wish { at: 0.0, weight: 1.0 }], &[4.0]);
        assert_eq!(places, [-1.0, 3.0]);
    }
}
