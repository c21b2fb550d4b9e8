//! Lambert's function, which the exact optimum of the checkpoint interval needs.

/// Returns W₀(x), the w ≥ −1 with w·eʷ = x, for x ≥ −1/e; −1 below that.
///
/// Halley's iteration, after Corless and others, *On the Lambert W function*, Advances in Computational Mathematics 5 (1996);
/// near the branch point it begins with their series there.
pub fn lambert_w0(x: f64) -> f64 {
    let e = std::f64::consts::E;
    let beyond = e * x + 1.0;
    if beyond <= 0.0 {
        return -1.0;
    }
    let p = (2.0 * beyond).sqrt();
    let mut w = if x < 0.25 { -1.0 + p - p * p / 3.0 + 11.0 * p * p * p / 72.0 } else { (1.0 + x).ln() };
    if p < 1e-5 {
        // Closer to the branch point the iteration divides by next to nothing.
        return w;
    }
    for _ in 0..50 {
        let (ew, wew) = (w.exp(), w * w.exp());
        let step = (wew - x) / (ew * (w + 1.0) - (w + 2.0) * (wew - x) / (2.0 * w + 2.0));
        w -= step;
        if step.abs() <= 1e-14 * (1.0 + w.abs()) {
            break;
        }
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_has_the_known_values() {
        let e = std::f64::consts::E;
        for (x, w) in [(0.0, 0.0), (e, 1.0), (1.0, 0.567_143_290_409_783_8), (-1.0 / e, -1.0), (2.0 * e * e, 2.0)] {
            assert!((lambert_w0(x) - w).abs() < 1e-7, "W({x}) is {}", lambert_w0(x));
        }
    }

    proptest! {
        #[test]
        fn it_undoes_w_times_e_to_the_w(w in -0.999_f64..20.0) {
            let x = w * w.exp();
            prop_assert!((lambert_w0(x) - w).abs() < 1e-6 * (1.0 + w.abs()), "{w}: {}", lambert_w0(x));
        }
    }
}
