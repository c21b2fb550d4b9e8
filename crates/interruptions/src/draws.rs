//! Random numbers of a seed.

/// Draws that a seed decides: equal seeds give equal numbers on every machine (SplitMix64 of Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub struct Draws {
    state: u64,
}

impl Draws {
    /// Returns the draws of a seed.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds begin far from each other.
        let mut draws = Self { state: seed };
        draws.state = draws.number() ^ seed.rotate_left(32);
        draws
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 to 1, never 0 itself and never 1.
    pub fn share(&mut self) -> f64 {
        ((self.number() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// Returns a place in a list of so many; 0 for an empty one.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.number()) * count as u128) >> 64) as usize
    }

    /// Returns whether something happens that does so with this probability.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// Returns a time with this mean, exponentially distributed.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.share().ln()
    }

    /// Returns a standard normal number (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_the_same_and_neighbours_do_not() {
        let ten = |seed| {
            let mut draws = Draws::new(seed);
            (0..10).map(|_| draws.number()).collect::<Vec<_>>()
        };
        assert_eq!(ten(3), ten(3));
        assert!(ten(3).iter().all(|number| !ten(4).contains(number)));
    }

    #[test]
    fn draws_have_the_moments_that_they_should() {
        let mut draws = Draws::new(1);
        let n = 200_000;
        let shares: f64 = (0..n).map(|_| draws.share()).sum::<f64>() / f64::from(n);
        let normals: Vec<f64> = (0..n).map(|_| draws.normal()).collect();
        let mean = normals.iter().sum::<f64>() / f64::from(n);
        let square = normals.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        let exponential = (0..n).map(|_| draws.exponential(7.0)).sum::<f64>() / f64::from(n);
        assert!((shares - 0.5).abs() < 0.004 && mean.abs() < 0.01 && (square - 1.0).abs() < 0.015);
        assert!((exponential - 7.0).abs() < 0.08, "{exponential}");
        assert!((0..1000).all(|_| draws.below(3) < 3) && draws.below(0) == 0);
    }
}
