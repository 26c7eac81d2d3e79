//! Tests of the whole way, beside a plain reckoning of each pixel.

use super::*;

const ORDERS: [BayerOrder; 4] = [BayerOrder::Rggb, BayerOrder::Grbg, BayerOrder::Gbrg, BayerOrder::Bggr];

/// A raw picture of one scene: what each pixel holds, and its bytes.
struct Raw {
    format: RawFormat,
    bytes: Vec<u8>,
}

/// Linear colour of the scene at a cell: 0..=1023 each.
type Scene = fn(u32, u32) -> [u16; 3];

fn gradient(x: u32, y: u32) -> [u16; 3] {
    [(x * 7 + y * 3) % 1024, (x * 5 + y * 11 + 300) % 1024, (x + y * 13 + 600) % 1024].map(|v| v as u16)
}

fn raw(width: u32, height: u32, packing: RawPacking, order: BayerOrder, scene: Scene) -> Raw {
    let mut format = RawFormat { width, height, stride: 0, packing, order };
    format.stride = format.row_bytes() as u32 + 11;
    let mut bytes = vec![0xA5; format.bytes()];
    let colours: [[usize; 2]; 2] = match order {
        BayerOrder::Rggb => [[0, 1], [1, 2]],
        BayerOrder::Grbg => [[1, 0], [2, 1]],
        BayerOrder::Gbrg => [[1, 2], [0, 1]],
        BayerOrder::Bggr => [[2, 1], [1, 0]],
    };
    for y in 0..height {
        let row = &mut bytes[(y * format.stride) as usize..];
        for x in 0..width {
            let value = scene(x / 2, y / 2)[colours[(y % 2) as usize][(x % 2) as usize]];
            let x = x as usize;
            match packing {
                RawPacking::Packed => {
                    let group = &mut row[x / 4 * 5..][..5];
                    group[x % 4] = (value >> 2) as u8;
                    let shift = 2 * (x % 4);
                    group[4] = group[4] & !(3 << shift) | ((value & 3) as u8) << shift;
                }
                RawPacking::Low16 => row[2 * x..2 * x + 2].copy_from_slice(&value.to_le_bytes()),
                RawPacking::High16 => row[2 * x..2 * x + 2].copy_from_slice(&(value << 6).to_le_bytes()),
            }
        }
    }
    Raw { format, bytes }
}

fn srgb(light: f64) -> f64 {
    let light = light.clamp(0.0, 1.0);
    255.0 * if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}

fn developed(raw: &Raw, size: (u32, u32), change: impl Fn(&mut Developer)) -> (Vec<u8>, Statistics) {
    let mut developer = Developer::new(raw.format, size, BLACK_LEVEL, Kernels::PORTABLE).unwrap();
    change(&mut developer);
    let mut rgb = vec![0; (size.0 * size.1 * 3) as usize];
    let seen = developer.develop(&raw.bytes, &mut rgb).unwrap();
    // What was gathered in one picture does not reach the next.
    let mut again = vec![1; rgb.len()];
    assert_eq!(developer.develop(&raw.bytes, &mut again), Ok(seen));
    assert!(rgb == again, "the second picture differs");
    (rgb, seen)
}

#[test]
fn every_order_and_packing_gives_the_same_picture_of_the_same_scene() {
    let gains = Gains { red: 500, blue: 300 };
    for order in ORDERS {
        for packing in [RawPacking::Packed, RawPacking::Low16, RawPacking::High16] {
            let raw = raw(60, 20, packing, order, gradient);
            let (rgb, _) = developed(&raw, (30, 10), |d| d.set_gains(gains));
            for (i, pixel) in rgb.chunks(3).enumerate() {
                let scene = gradient(i as u32 % 30, i as u32 / 30);
                for (c, gain) in [500.0, 256.0, 300.0].into_iter().enumerate() {
                    let light = (f64::from(scene[c]) - 64.0) * gain / 256.0 / (1023.0 - 64.0);
                    let off = (f64::from(pixel[c]) - srgb(light).round()).abs();
                    assert!(off <= 1.0, "{order:?} {packing:?} pixel {i} colour {c}: {} for {light}", pixel[c]);
                }
            }
        }
    }
}

#[test]
fn flips_of_the_sensor_name_the_order() {
    assert_eq!(
        [(false, false), (true, false), (false, true), (true, true)].map(|(h, v)| BayerOrder::of_flips(h, v)),
        ORDERS
    );
}

/// Mean of `scene`, which has `cells` pixels, over a pixel of the smaller picture.
fn box_mean(scene: &dyn Fn(u32, u32) -> [f64; 3], cells: (u32, u32), size: (u32, u32), (x, y): (u32, u32)) -> [f64; 3] {
    let mut sums = [0.0; 3];
    let spans = |at: u32, from: u32, to: u32| {
        let (low, high) = (f64::from(at * from) / f64::from(to), f64::from((at + 1) * from) / f64::from(to));
        (low as u32..from.min(high.ceil() as u32))
            .map(move |cell| (cell, (high.min(f64::from(cell + 1)) - low.max(f64::from(cell))) / (high - low)))
    };
    for (cx, wx) in spans(x, cells.0, size.0) {
        for (cy, wy) in spans(y, cells.1, size.1) {
            for (sum, value) in sums.iter_mut().zip(scene(cx, cy)) {
                *sum += wx * wy * value;
            }
        }
    }
    sums
}

#[test]
fn the_three_sizes_are_box_means_of_both_modes() {
    // Rough, and a different colour on each side.
    fn scene(x: u32, y: u32) -> [u16; 3] {
        let noise = ((x * 7919) ^ (y * 104_729)) % 400;
        [noise + 70, (x / 3 + noise) % 1000, (y / 3 + noise) % 1000].map(|v| v as u16)
    }
    for mode in [(2028, 1520), (4056, 3040)] {
        let raw = raw(mode.0, mode.1, RawPacking::Packed, BayerOrder::Rggb, scene);
        for size in SIZES {
            let (rgb, seen) = developed(&raw, size, |d| d.set_gains(Gains { red: 256, blue: 256 }));
            assert_eq!(seen.cells, mode.0 / 2 * (mode.1 / 2));
            let corners = [(0, 0), (size.0 - 1, 0), (0, size.1 - 1), (size.0 - 1, size.1 - 1)];
            let inside = (1..40).map(|i| (i * 157 % size.0, i * 89 % size.1));
            // Every size is made from the grid of 1014×760, not from the cells.
            let cells = |x, y| scene(x, y).map(f64::from);
            let grid = |x, y| box_mean(&cells, (mode.0 / 2, mode.1 / 2), SIZES[0], (x, y));
            for (x, y) in corners.into_iter().chain(inside) {
                let mean = box_mean(&grid, SIZES[0], size, (x, y));
                let at = ((y * size.0 + x) * 3) as usize;
                // The mean is rounded to a 2047th before the curve, whose steepest part has 3.4 levels for two of these.
                for (c, mean) in mean.into_iter().enumerate() {
                    let level = srgb((mean - 64.0) / 959.0);
                    let off = (f64::from(rgb[at + c]) - level).abs();
                    assert!(off <= 1.7, "{mode:?} to {size:?} at {x},{y} colour {c}: {} for {level}", rgb[at + c]);
                }
            }
        }
    }
}

#[test]
fn a_matrix_keeps_grey_grey_and_white_white_and_mixes_colours_as_the_tuning_says() {
    fn scene(x: u32, y: u32) -> [u16; 3] {
        match y {
            0 => [64 + x as u16 * 10, 64 + x as u16 * 20, 64 + x as u16 * 15],
            1 => [1023; 3],
            _ => [300, 200, 150],
        }
    }
    let raw = raw(64, 6, RawPacking::Packed, BayerOrder::Rggb, scene);
    let gains = Gains { red: 512, blue: 341 };
    let matrix = ColourMatrix::for_gains(gains);
    let (rgb, _) = developed(&raw, (32, 3), |d| {
        d.set_gains(gains);
        d.set_matrix(Some(matrix));
    });
    for (i, pixel) in rgb.chunks(3).enumerate() {
        let [r, g, b] = scene(i as u32 % 32, i as u32 / 32).map(f64::from);
        let balanced = [(r - 64.0) * 2.0, g - 64.0, (b - 64.0) * 341.0 / 256.0].map(|v| (v / 959.0).min(1.0));
        for (c, row) in matrix.0.iter().enumerate() {
            let light: f64 = row.iter().zip(balanced).map(|(&m, v)| f64::from(m) / 8192.0 * v).sum();
            let off = (f64::from(pixel[c]) - srgb(light)).abs();
            assert!(off <= 4.0, "pixel {i} colour {c}: {} for {}", pixel[c], srgb(light));
        }
        let spread = pixel.iter().max().unwrap() - pixel.iter().min().unwrap();
        assert!(i >= 64 || spread <= 4, "grey {i} is {pixel:?}");
        assert!(!(32..64).contains(&i) || pixel.iter().all(|&v| v >= 253), "white {i} is {pixel:?}");
    }
    let (wild, _) = developed(&raw, (32, 3), |d| d.set_matrix(Some(ColourMatrix([[i16::MAX; 3]; 3]))));
    let (plain, _) = developed(&raw, (32, 3), |_| ());
    assert!(wild == plain, "a matrix that would overflow is none");
}

#[test]
fn statistics_count_clipped_cells_apart() {
    fn scene(x: u32, _: u32) -> [u16; 3] {
        if x < 8 { [1023, 500, 200] } else { [164, 264, 114] }
    }
    let raw = raw(64, 8, RawPacking::Packed, BayerOrder::Gbrg, scene);
    let (_, seen) = developed(&raw, (32, 4), |_| ());
    assert_eq!((seen.cells, seen.open_cells), (128, 96));
    assert_eq!(seen.open_sums, [164, 264, 114].map(|v| 96 * 2 * v));
    assert_eq!(seen.open_means(), Some([200, 400, 100]));
    // 3/4 of (100 × 2 × 0.299 + 200 × 0.587 + 50 × 1 × 0.114) / 959, and 1/4 white.
    let mean = seen.luminance_per_65536(Gains { red: 512, blue: 256 }).unwrap();
    assert_eq!(mean, (65_536.0 * (0.75 * 182.9 / 959.0 + 0.25)) as u32);
}

#[test]
fn other_sizes_and_impossible_shapes_are_refused() {
    let format =
        RawFormat { width: 2028, height: 1520, stride: 2544, packing: RawPacking::Packed, order: BayerOrder::Rggb };
    let made = |format, size| Developer::new(format, size, BLACK_LEVEL, Kernels::PORTABLE).map(|d| d.info());
    let text = made(format, (640, 360)).unwrap_err().to_string();
    assert_eq!(text, "no picture of 640x360 from the 2028x1520 sensor; it gives 1014x760, 507x380 or 640x480");
    assert_eq!(made(format, (640, 480)).unwrap(), PictureInfo::packed(PixelFormat::Rgb888, 640, 480));
    let other = RawFormat { width: 640, height: 480, stride: 800, ..format };
    assert_eq!(
        made(other, (640, 480)).unwrap_err().to_string(),
        "no picture of 640x480 from the 640x480 sensor; it gives 320x240"
    );
    assert!(made(other, (320, 240)).is_ok());
    for (width, height, stride) in [
        (0, 2, 99),
        (2, 2, 99),
        (2030, 2, 9999),
        (4060, 2, 9999),
        (64, 0, 99),
        (64, 3, 99),
        (64, 3042, 99),
        (64, 2, 79),
        (64, 2, u32::MAX),
    ] {
        let format = RawFormat { width, height, stride, ..format };
        assert_eq!(made(format, (width / 2, height / 2)), Err(DevelopError::Shape(format)));
    }
    assert!(matches!(Developer::new(format, (507, 380), 512, Kernels::PORTABLE), Err(DevelopError::Black(512))));
    let mut developer = Developer::new(format, (507, 380), 511, Kernels::PORTABLE).unwrap();
    let (raw, mut rgb) = (vec![0; format.bytes()], vec![7; 507 * 380 * 3]);
    let cut = developer.develop(&raw[1..], &mut rgb).unwrap_err();
    assert_eq!(cut.to_string(), format!("raw picture needs {} bytes, has {}", format.bytes(), format.bytes() - 1));
    assert!(developer.develop(&raw, &mut rgb[1..]).is_err());
    assert!(rgb.iter().all(|&v| v == 7), "a refused picture wrote nothing");
    developer.develop(&raw, &mut rgb).unwrap();
    assert!(rgb.iter().all(|&v| v == 0));
}
