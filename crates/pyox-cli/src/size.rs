//! Sizes as people read them.

/// A number of bytes with a unit, such as `1.2 MiB`; below one KiB exact.
#[must_use]
pub fn size(bytes: u64) -> String {
    // A rounded number for people: precision beyond 52 bits is not shown anyway.
    #[allow(clippy::cast_precision_loss)]
    let mut number = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        // 1023.95 would be shown as 1024.0.
        if number < 1023.95 {
            break;
        }
        number /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{number:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_four_digits_at_most() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_258_291, "1.2 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
