//! Tables are read back and compared.

use super::reading::cost::Cost;
use super::reading::table::{Kept, MARKERS, Row, write};

fn row(kernel: &str, instructions: u64, all: Option<f64>) -> Row {
    let cost = all.map(|all| Cost { all, vector: 1.25, loads: 0.5 });
    let room = Some(46.3);
    Row { kernel: kernel.into(), registers: 48, subgroups: 20, code_bytes: 900, instructions, cost, room }
}

#[test]
fn tables_are_read_back_as_they_were_written() {
    let rows = [row("matvec[bf16 splits=4]", 200, Some(3.5)), row("argmax", 90, None)];
    let [first, other] =
        ["gfx1103", "vega10"].map(|family| write(family, "Mesa 22.3.6", Some("a GPU"), &rows));
    assert!(
        first.contains("\n| `matvec[bf16 splits=4]` | 48 | 20 | 900 | 200 | 3.50 | 1.25 | 0.50 | 46 |\n")
    );
    assert!(first.contains("\n| `argmax` | 48 | 20 | 900 | 90 | - | - | - | 46 |\n"));
    let page = format!("Before\n{}\n{first}\n{other}\n{}\nBehind", MARKERS[0], MARKERS[1]);
    let kept = Kept::read(&page, "gfx1103").unwrap();
    assert_eq!(kept.driver, "Mesa 22.3.6");
    let kernels: Vec<_> = kept.rows.iter().map(|row| (row.kernel.as_str(), row.a_weight)).collect();
    assert_eq!(kernels, [("matvec[bf16 splits=4]", Some(3.5)), ("argmax", None)]);
    assert_eq!(Kept::read(&page, "vega10"), Some(kept));
    assert!(Kept::read(&page, "navi21").is_none() && Kept::read(&first, "gfx1103").is_none());
}

#[test]
fn another_release_is_not_compared() {
    let kept = Kept { driver: "Mesa 22.3.6".into(), rows: Vec::new() };
    assert!(kept.is_of("Mesa 22.3.6") && kept.is_of("Mesa 22.3.10-devel"));
    assert!(!kept.is_of("Mesa 22.2.6") && !kept.is_of("Mesa 25.3.6"));
}

#[test]
fn a_tenth_more_is_worse() {
    let kept = |row: Row| {
        let table = write("a", "Mesa", None, &[row]);
        let page = format!("{}\n{table}\n{}", MARKERS[0], MARKERS[1]);
        Kept::read(&page, "a").unwrap().rows.remove(0)
    };
    let by_weight = kept(row("a", 100, Some(10.0)));
    assert_eq!(by_weight.worse(&row("a", 500, Some(11.0))), None);
    let worse = by_weight.worse(&row("a", 100, Some(11.126)));
    assert_eq!(worse.as_deref(), Some("a: instructions a weight 10 -> 11.13"));
    assert!(by_weight.worse(&row("a", 100, None)).is_some());
    let whole = kept(row("b", 100, None));
    assert_eq!(whole.worse(&row("b", 110, Some(3.0))), None);
    assert_eq!(whole.worse(&row("b", 111, None)).as_deref(), Some("b: instructions 100 -> 111"));
}
