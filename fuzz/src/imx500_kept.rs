//! Metadata as a recording keeps it: header, parser, and the way from the whole buffer to the results alone, which must say the
//! same.
//!
//! Byte 0: bit 0 the bytes behind the header are written line by line, as in `imx500_metadata`; bit 1 a package's input lines
//! follow in two bytes. Then the section.

use kinora::imx500::{Cut, Form, Inference, KEPT_HEADER_BYTES, Kept, LINE_BYTES, Parser, Registers};

use super::imx500_metadata::by_lines;

/// Reads the section, and a whole buffer's again after it was cut to its results.
pub fn check(bytes: &[u8]) {
    let Some((&flags, mut rest)) = bytes.split_first() else { return };
    let mut input_lines = None;
    if flags & 2 != 0 {
        let Some((lines, after)) = rest.split_first_chunk() else { return };
        (input_lines, rest) = (Some(u16::from_le_bytes(*lines)), after);
    }
    let mut section = rest.to_vec();
    if let (Ok(kept), true) = (Kept::parse(rest), flags & 1 != 0) {
        section.truncate(KEPT_HEADER_BYTES);
        section.extend(by_lines(kept.bytes, kept.layout));
    }
    let kept = match Kept::parse(&section) {
        Ok(kept) => kept,
        Err(error) => {
            assert!(error.offset <= section.len() && !error.to_string().is_empty(), "{error}");
            return;
        }
    };
    assert_eq!((kept.bytes, kept.buffer().is_some()), (&section[KEPT_HEADER_BYTES..], kept.form == Form::Full));
    if let Err(error) = Registers::parse(kept.bytes, kept.layout) {
        assert!(error.offset <= kept.bytes.len(), "{error}");
    }
    let mut parser = Parser::new(kept.layout);
    if let Some(lines) = input_lines {
        parser.expect_input_lines(lines);
    }
    let first = walk(&mut parser, &kept);
    assert_eq!(first, walk(&mut parser, &kept), "a parser that knows the network says another thing");
    if let (Some(said), Form::Full) = (first, kept.form) {
        results_say_the_same(&mut parser, &kept, said);
    }
}

/// Frame counter, sum over the elements if there is a result, and whether every line of the output is used to its end.
type Said = (u8, Option<u64>, bool);

fn walk(parser: &mut Parser, kept: &Kept<'_>) -> Option<Said> {
    let inference = match parser.kept(kept) {
        Ok(inference) => inference?,
        Err(error) => {
            assert!(error.offset <= kept.bytes.len() && !error.to_string().is_empty(), "{error}");
            return None;
        }
    };
    let Inference { input_header, output_header, input, output, .. } = inference;
    assert!(input.is_none() || kept.form == Form::Full, "an input tensor out of nothing");
    let fold = |sum: u64, raw: i64| sum.wrapping_mul(31).wrapping_add(raw as u64);
    let sum = output.map(|output| output.tensors().fold(1, |sum, tensor| tensor.raws().fold(sum, fold)));
    Some((input_header.frame_count, sum, usize::from(output_header.line_bytes) == LINE_BYTES))
}

fn results_say_the_same(parser: &mut Parser, full: &Kept<'_>, said: Said) {
    let (_, sum, has_whole_lines) = said;
    let Some((line, lines)) = parser.output_lines().filter(|_| has_whole_lines) else { return };
    let output = Some((line, if sum.is_some() { lines } else { 1 }));
    let cut = Cut::new(full.bytes, full.layout, Form::Results, output);
    let mut section = vec![0; cut.len()];
    cut.write(&mut section);
    let results = Kept::parse(&section).expect("what was written can be read");
    assert_eq!((results.layout, results.buffer_bytes as usize), (full.layout, full.bytes.len()));
    assert_eq!(walk(parser, &results), Some(said), "the results alone say another thing");
}
