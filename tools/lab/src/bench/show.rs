// SPDX-License-Identifier: GPL-2.0

//! How the results of `lab bench` are shown: as a table, as JSON, as a chart.

use anyhow::{anyhow, Result};
use comfy_table::{presets, CellAlignment, Table};
use plotters::prelude::*;
use serde_json::{json, Value};

use super::rows::{Against, Judged, Results, Unit, Verdict};
use crate::size::mib;

/// Height of a row of the chart, and what is above and below all of them.
const ROW: u32 = 26;
const AROUND: u32 = 110;
const WIDTH: u32 = 1000;
/// Room for what the rows say.
const LABELS: u32 = 380;

fn value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Instructions => format!("{value:.1}"),
        Unit::Bytes if value == 0.0 => "0".into(),
        Unit::Bytes if value.abs() < f64::from(1 << 20) => format!("{:.1} KiB", value / 1024.0),
        Unit::Bytes if value < 0.0 => format!("-{}", mib(-value as u64)),
        Unit::Bytes => mib(value as u64),
    }
}

/// What is not there is a dash, not a zero.
fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

fn ratio(ratio: f64) -> String {
    match ratio.abs() {
        // Targets differ in the third digit.
        r if r < 10.0 => format!("{ratio:.4}"),
        _ => format!("{ratio:.1}"),
    }
}

fn against(judged: &Judged) -> String {
    let what = match judged.row.against {
        Against::Nothing => return String::new(),
        Against::Base(_, what) | Against::Own(_, what) => format!("{what}: "),
        Against::Bytes(_) => String::new(),
    };
    let number = or_dash(judged.reference.map(|n| value(judged.row.unit, n)));
    format!("{what}{number}")
}

fn verdict(judged: &Judged) -> String {
    match &judged.verdict {
        Verdict::Met => "met".into(),
        Verdict::Missed => "MISSED".into(),
        Verdict::NotMeasured(why) => {
            let first = why.lines().next().unwrap_or_default();
            format!("not measured: {first}")
        }
        Verdict::Known => String::new(),
    }
}

/// The table, and a line that counts.
pub fn table(rows: &[Judged]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "#", "measure", "base", "patched", "against", "ratio", "target", "",
    ]);
    for judged in rows {
        let unit = judged.row.unit;
        table.add_row([
            judged.row.number.to_string(),
            judged.row.what.to_string(),
            or_dash(judged.base.map(|n| value(unit, n))),
            or_dash(judged.patched.map(|n| value(unit, n))),
            against(judged),
            or_dash(judged.ratio.map(ratio)),
            judged.row.target.map(|t| t.text()).unwrap_or_default(),
            verdict(judged),
        ]);
    }
    for column in [0, 2, 3, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|l| l.trim_end().to_string()).collect();
    format!("{}\n{}\n", lines.join("\n"), summary(rows))
}

/// How many targets are met.
fn summary(rows: &[Judged]) -> String {
    let count = |which: fn(&Judged) -> bool| rows.iter().filter(|row| which(row)).count();
    let met = count(|row| row.verdict == Verdict::Met);
    let missed = count(|row| row.verdict == Verdict::Missed);
    let unknown = count(|row| row.is_bad() && row.verdict != Verdict::Missed);
    format!("{met} targets met, {missed} missed, {unknown} not measured")
}

/// All there is to know, for programs.
pub fn json(rows: &[Judged], results: &Results, about: Value) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|judged| {
            let row = judged.row;
            json!({
                "number": row.number,
                "measure": row.measure,
                "what": row.what.trim_start(),
                "metric": row.metric,
                "unit": match row.unit {
                    Unit::Instructions => "instructions",
                    Unit::Bytes => "bytes",
                },
                "base": judged.base,
                "patched": judged.patched,
                "against": match row.against {
                    Against::Nothing => None,
                    Against::Base(metric, _) => Some(format!("base {metric}")),
                    Against::Own(metric, _) => Some(format!("patched {metric}")),
                    Against::Bytes(_) => Some("a number".to_string()),
                },
                "against_value": judged.reference,
                "ratio": judged.ratio,
                "target": row.target.map(|target| target.text()),
                "outcome": match judged.verdict {
                    Verdict::Met => Some("met"),
                    Verdict::Missed => Some("missed"),
                    Verdict::NotMeasured(_) => Some("not measured"),
                    Verdict::Known => None,
                },
                "reason": match &judged.verdict {
                    Verdict::NotMeasured(why) => Some(why),
                    _ => None,
                },
            })
        })
        .collect();
    let troubles = |of: &super::rows::Measured| {
        let all: serde_json::Map<String, Value> = of
            .troubles
            .iter()
            .map(|(measure, trouble)| (measure.clone(), json!(trouble.reason())))
            .collect();
        all
    };
    let mut all = about;
    all["rows"] = json!(rows);
    // Also what is in no row.
    all["measured"] = json!({
        "base": results.base.values,
        "patched": results.patched.values,
    });
    all["troubles"] = json!({
        "base": troubles(&results.base),
        "patched": troubles(&results.patched),
    });
    all
}

/// A bar of the chart: what it says, base and patched in parts of the reference,
/// the target, and how it came out.
struct Bar {
    label: String,
    base: Option<f64>,
    patched: f64,
    target: Option<f64>,
    color: RGBColor,
}

const MET: RGBColor = RGBColor(46, 125, 50);
const MISSED: RGBColor = RGBColor(198, 40, 40);
const KNOWN: RGBColor = RGBColor(84, 110, 122);
const BASE: RGBColor = RGBColor(189, 189, 189);

fn bars(rows: &[Judged]) -> Vec<Bar> {
    use super::rows::Target;
    rows.iter()
        .filter_map(|judged| {
            let reference = judged.reference.filter(|n| *n > 0.0)?;
            Some(Bar {
                label: format!("{}: {}", judged.row.number, judged.row.what.trim_start()),
                base: judged.base.map(|n| n / reference),
                patched: judged.ratio?,
                target: match judged.row.target {
                    Some(Target::AtMost(n) | Target::Below(n)) => Some(n),
                    Some(Target::Nothing) | None => None,
                },
                color: match judged.verdict {
                    Verdict::Met => MET,
                    Verdict::Missed => MISSED,
                    Verdict::Known | Verdict::NotMeasured(_) => KNOWN,
                },
            })
        })
        .collect()
}

/// The ratios as bars on a logarithmic scale, base below patched, with a mark where
/// the target is.
pub fn chart(rows: &[Judged]) -> Result<String> {
    let mut bars = bars(rows);
    // The chart grows upwards.
    bars.reverse();
    let all = bars
        .iter()
        .flat_map(|bar| [Some(bar.patched), bar.base, bar.target])
        .flatten()
        .filter(|n| n.is_finite() && *n > 0.0);
    let (low, high) = all.fold((0.5, 2.0), |(low, high): (f64, f64), n| {
        (low.min(n / 1.2), high.max(n * 1.2))
    });
    let count = bars.len();
    let height = ROW * count.max(1) as u32 + AROUND;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        draw(&area, &bars, low, high).map_err(|error| anyhow!("cannot draw: {error}"))?;
        area.present()
            .map_err(|error| anyhow!("cannot draw: {error}"))?;
    }
    // Where every file of the repository has it.
    Ok(format!("<!-- SPDX-License-Identifier: GPL-2.0 -->\n{text}"))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    area: &Area<'_>,
    bars: &[Bar],
    low: f64,
    high: f64,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>> {
    area.fill(&WHITE)?;
    let count = bars.len().max(1);
    let mut chart = ChartBuilder::on(area)
        .caption(
            "lab bench: ratios; gray: base, black mark: target",
            ("sans-serif", 16),
        )
        .margin(10)
        .margin_right(30)
        .x_label_area_size(40)
        .y_label_area_size(LABELS)
        .build_cartesian_2d((low..high).log_scale(), (0..count).into_segmented())?;
    let label = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(n) => bars.get(*n).map(|bar| bar.label.clone()),
        _ => None,
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .x_max_light_lines(1)
        .y_labels(count)
        .y_label_formatter(&|at| label(at).unwrap_or_default())
        .x_label_formatter(&|n| format!("{n}"))
        .x_desc("parts of what it is compared with, logarithmic")
        .label_style(("sans-serif", 12))
        .draw()?;
    let span = |number: usize, from: f64, to: f64, color: RGBColor, above: u32, below: u32| {
        let mut bar = Rectangle::new(
            [
                (from, SegmentValue::Exact(number)),
                (to, SegmentValue::Exact(number + 1)),
            ],
            color.filled(),
        );
        bar.set_margin(above, below, 0, 0);
        bar
    };
    for (number, bar) in bars.iter().enumerate() {
        chart.draw_series([span(number, low, bar.patched.max(low), bar.color, 4, 11)])?;
        if let Some(base) = bar.base {
            chart.draw_series([span(number, low, base.max(low), BASE, 16, 4)])?;
        }
        if let Some(target) = bar.target {
            let (left, right) = (target / 1.004, target * 1.004);
            chart.draw_series([span(number, left, right, BLACK, 2, 2)])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rows::ROWS;
    use super::*;

    fn results() -> Results {
        let mut results = Results::default();
        let base = [("read.plain.1", 1000.0), ("clones.100.cache", 100.0)];
        let patched = [
            ("read.plain.1", 1001.0),
            ("read.alias.1", 1100.0),
            ("clones.one.cache", 1e6),
            ("clones.100.cache", 2e6),
            ("warm.bytes.4k", 0.0),
        ];
        results.base.values = base.map(|(k, v)| (k.into(), v)).into();
        results.patched.values = patched.map(|(k, v)| (k.into(), v)).into();
        results.patched.fail("erofs", "no EROFS <here>");
        results
    }

    fn judged(results: &Results) -> Vec<Judged> {
        ROWS.iter().map(|row| row.judge(results)).collect()
    }

    /// Each row has its line with its numbers, and the last line counts.
    #[test]
    fn table_is_complete() {
        let text = table(&judged(&results()));
        assert_eq!(text.lines().count(), ROWS.len() + 2);
        let line = |what: &str| {
            let line = text.lines().find(|line| line.contains(what)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            line("ordinary file, 1 byte"),
            "3 read, ordinary file, 1 byte 1000.0 1001.0 base: 1000.0 1.0010 <= 1.002 met"
        );
        assert!(line("aliased file, 1 byte").ends_with("1.1000 <= 1.02 MISSED"));
        assert!(line("EROFS inode_share, page cache, 2").ends_with("not measured: no EROFS <here>"));
        assert!(text.ends_with(" not measured\n"), "{text}");
        assert!(text.contains("\n2 targets met, 2 missed, "), "{text}");
    }

    /// Programs find all of it.
    #[test]
    fn json_is_complete() {
        let results = results();
        let all = json(&judged(&results), &results, json!({"boots": 3}));
        assert_eq!(all["boots"], 3);
        assert_eq!(all["rows"].as_array().unwrap().len(), ROWS.len());
        assert_eq!(all["measured"]["patched"]["clones.one.cache"], 1e6);
        assert_eq!(all["troubles"]["patched"]["erofs"], "no EROFS <here>");
        let row = &all["rows"][2];
        assert_eq!(row["outcome"], "missed");
        assert_eq!(row["ratio"], 2.0);
        assert_eq!(row["base"], 100.0);
    }

    /// The chart has a label for each ratio, also when there is none.
    #[test]
    fn chart_is_drawn() {
        let results = results();
        let svg = chart(&judged(&results)).unwrap();
        for part in [
            "<svg",
            "</svg>",
            "3: read, ordinary file, 1 byte",
            "#C62828",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(!svg.contains("4: read, aliased file, 4 KiB"));
        assert!(chart(&[]).unwrap().contains("</svg>"));
    }

    /// Small numbers are told in small units, and nothing is nothing.
    #[test]
    fn values_are_readable() {
        assert_eq!(value(Unit::Bytes, 0.0), "0");
        assert_eq!(value(Unit::Bytes, 2048.0), "2.0 KiB");
        assert_eq!(value(Unit::Bytes, f64::from(3 << 20)), "3.0 MiB");
        assert_eq!(value(Unit::Bytes, -f64::from(3 << 20)), "-3.0 MiB");
        assert_eq!(value(Unit::Instructions, 11.46), "11.5");
    }
}
