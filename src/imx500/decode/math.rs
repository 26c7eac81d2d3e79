//! What `core` does not have, and the queue that gives equal scores back in the order of modlib's.

/// e^x, good to 1e-12 of its value: e^(k ln 2 + r) = 2^k e^r with |r| ≤ ln 2 / 2 and a Taylor series that ends below 1e-16
/// there. Below -700 and for NaN it is 0, above 700 it is e^700.
pub(super) fn exp(x: f64) -> f64 {
    const LN_2: f64 = core::f64::consts::LN_2;
    if x.is_nan() || x < -700.0 {
        return 0.0;
    }
    let x = x.min(700.0);
    let k = (x / LN_2 + if x < 0.0 { -0.5 } else { 0.5 }) as i64;
    let r = x - k as f64 * LN_2;
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..=14 {
        term *= r / f64::from(n);
        sum += term;
    }
    sum * f64::from_bits(((1023 + k) as u64) << 52)
}

/// 1 / (1 + e^-x).
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(f64::from(-x)) as f32)
}

/// The smallest x whose sigmoid is at least `p`, in -20..=20, by halving.
pub(super) fn logit(p: f64) -> f32 {
    let (mut low, mut high) = (-20.0, 20.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if 1.0 / (1.0 + exp(-middle)) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    high as f32
}

/// The nearest whole number of x ≥ 0; half-way cases go to the even one, as numpy has it.
pub(super) fn round_half_even(x: f64) -> f64 {
    /// From here on every `f64` is whole.
    const WHOLE: f64 = (1_u64 << 52) as f64;
    if x < WHOLE { (x + WHOLE) - WHOLE } else { x }
}

/// Puts the last item of `heap` where it belongs. The sequence of comparisons is that of libstdc++'s `push_heap`, so that
/// equal items leave the queue in the same order as there.
pub(super) fn heap_pushed<T: Copy>(heap: &mut [T], less: impl Fn(T, T) -> bool) {
    if let Some(&item) = heap.last() {
        sift_up(heap, heap.len() - 1, item, less);
    }
}

/// Moves the greatest item to the end and leaves a heap before it: libstdc++'s `pop_heap`.
pub(super) fn heap_popped<T: Copy>(heap: &mut [T], less: impl Fn(T, T) -> bool) {
    let Some((last, rest)) = heap.split_last_mut() else { return };
    let Some(&first) = rest.first() else { return };
    let item = core::mem::replace(last, first);
    let len = rest.len();
    let mut hole = 0;
    let mut child = 0;
    while child < (len - 1) / 2 {
        child = 2 * (child + 1);
        if less(rest[child], rest[child - 1]) {
            child -= 1;
        }
        rest[hole] = rest[child];
        hole = child;
    }
    if len % 2 == 0 && child == (len - 2) / 2 {
        child = 2 * (child + 1);
        rest[hole] = rest[child - 1];
        hole = child - 1;
    }
    sift_up(rest, hole, item, less);
}

fn sift_up<T: Copy>(heap: &mut [T], mut hole: usize, item: T, less: impl Fn(T, T) -> bool) {
    while hole > 0 {
        let parent = (hole - 1) / 2;
        if !less(heap[parent], item) {
            break;
        }
        heap[hole] = heap[parent];
        hole = parent;
    }
    heap[hole] = item;
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_good_to_twelve_digits() {
        for i in -2000..2000 {
            let x = 0.01 * f64::from(i);
            assert!((exp(x) - x.exp()).abs() <= 1e-12 * x.exp(), "{x}");
        }
        assert_eq!((exp(f64::NEG_INFINITY), exp(f64::NAN)), (0.0, 0.0));
        assert!(exp(f64::INFINITY).is_finite());
    }

    #[test]
    fn sigmoid_and_logit_undo_each_other() {
        for p in [0.001, 0.1, 0.3, 0.5, 0.75, 0.999] {
            assert!((f64::from(sigmoid(logit(p))) - p).abs() < 1e-6, "{p}");
        }
        assert_eq!((logit(0.0), logit(2.0)), (-20.0, 20.0));
    }

    #[test]
    fn half_goes_to_the_even_number() {
        for (x, rounded) in [(0.0, 0.0), (0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (2.51, 3.0), (1e300, 1e300)] {
            assert_eq!(round_half_even(x), rounded, "{x}");
        }
    }

    #[test]
    fn the_queue_gives_the_greatest_first() {
        let mut heap = Vec::new();
        let mut x = 12_345_u32;
        for _ in 0..500 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            heap.push(x >> 22);
            heap_pushed(&mut heap, |a, b| a < b);
        }
        let mut popped = Vec::new();
        while !heap.is_empty() {
            heap_popped(&mut heap, |a, b| a < b);
            popped.extend(heap.pop());
        }
        assert!(popped.len() == 500 && popped.is_sorted_by(|a, b| a >= b));
    }
}
