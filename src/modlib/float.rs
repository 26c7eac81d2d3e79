//! Numbers as Python prints them.

use std::fmt::Write;

/// Appends `value` as Python's `json.dumps` writes it: the shortest digits that give the same double, an exponent below
/// 1e-4 and from 1e16 on (at least two digits), `.0` after whole numbers, and the bare words `NaN`, `Infinity`,
/// `-Infinity`. At most 24 bytes. Source: `float.__repr__`, that is `PyOS_double_to_string(x, 'r', 0, Py_DTSF_ADD_DOT_0)`.
pub fn write_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else {
        // Rust's own digits are as short, but of two equally near ones it takes the larger where Python takes the even.
        arrange(out, zmij::Buffer::new().format_finite(value));
    }
}

/// Appends the text of the double that `value` stands for: 0.1 becomes `0.10000000149011612`, as numpy's `tolist` has it.
pub fn write_f32(out: &mut Vec<u8>, value: f32) {
    write_f64(out, f64::from(value));
}

/// Appends `value` in decimal.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    let mut text = heapless::String::<20>::new();
    let _ = write!(text, "{value}");
    out.extend_from_slice(text.as_bytes());
}

/// Turns `-1.2345e-7`, `0.25` or `12.0` into Python's form.
fn arrange(out: &mut Vec<u8>, text: &str) {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = rest.split_once('e').unwrap_or((rest, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = heapless::String::<40>::new();
    let _ = digits.push_str(before).and_then(|()| digits.push_str(after));
    let significant = digits.trim_start_matches('0');
    let leading = digits.len() - significant.len();
    // The exponent of the first significant digit.
    let exponent = exponent.parse::<i32>().unwrap_or(0) + before.len() as i32 - 1 - leading as i32;
    out.extend_from_slice(sign.as_bytes());
    match significant.trim_end_matches('0') {
        "" => out.extend_from_slice(b"0.0"),
        significant => write_digits(out, significant.as_bytes(), exponent),
    }
}

/// Writes `d.ddd` times ten to the `exponent`.
fn write_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    match exponent {
        -4..=-1 => {
            out.extend_from_slice(b"0.");
            fill(out, (-exponent - 1) as usize);
            out.extend_from_slice(digits);
        }
        0..=15 => {
            let whole = exponent as usize + 1;
            let (before, after) = digits.split_at(whole.min(digits.len()));
            out.extend_from_slice(before);
            fill(out, whole - before.len());
            out.push(b'.');
            out.extend_from_slice(if after.is_empty() { b"0" } else { after });
        }
        _ => {
            out.push(digits[0]);
            if digits.len() > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.abs() < 10 {
                out.push(b'0');
            }
            write_i64(out, exponent.abs().into());
        }
    }
}

fn fill(out: &mut Vec<u8>, zeros: usize) {
    out.resize(out.len() + zeros, b'0');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        write_f64(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_are_printed_as_python_prints_them() {
        // Each right side was printed by Python 3.11's json.dumps.
        let table = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (10.0, "10.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.2345e22, "1.2345e+22"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (9007199254740993.0, "9007199254740992.0"),
            (323939.13714250695, "323939.13714250695"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-2.5, "-2.5"),
            (0.927_497_863_769_531_2, "0.9274978637695312"),
            (5.684341886080802e-14, "5.684341886080802e-14"),
            (0.001, "0.001"),
            (120.0, "120.0"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in table {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn a_float32_shows_as_its_double() {
        let mut out = Vec::new();
        write_f32(&mut out, 0.1);
        assert_eq!(out, b"0.10000000149011612");
    }

    #[test]
    fn the_text_of_any_double_returns_the_same_double() {
        let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                assert_eq!(text(value).parse::<f64>().unwrap().to_bits(), bits);
            }
        }
    }
}
