//! Figures with what they are compared with, printed and kept.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use e2e::programs;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Lower,
    Higher,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub what: String,
    pub unit: &'static str,
    pub better: Better,
    /// The middle of the runs; the one that is compared.
    pub median: f64,
    pub runs: Vec<f64>,
    pub target: Option<f64>,
    /// Beyond this the command fails.
    pub hard_floor: Option<f64>,
    /// The floor or peer measured beside it.
    pub beside: Vec<(String, f64)>,
}

impl Figure {
    pub fn of(what: &str, unit: &'static str, better: Better, runs: Vec<f64>) -> Figure {
        let what = what.to_string();
        Figure {
            what,
            unit,
            better,
            median: median(&runs),
            runs,
            target: None,
            hard_floor: None,
            beside: Vec::new(),
        }
    }

    pub fn target(mut self, target: f64) -> Figure {
        self.target = Some(target);
        self
    }

    pub fn hard_floor(mut self, floor: f64) -> Figure {
        self.hard_floor = Some(floor);
        self
    }

    pub fn beside(mut self, what: &str, figure: f64) -> Figure {
        self.beside.push((what.to_string(), figure));
        self
    }

    fn reaches(&self, mark: f64) -> bool {
        match self.better {
            Better::Lower => self.median <= mark,
            Better::Higher => self.median >= mark,
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.target, self.hard_floor) {
            (_, Some(floor)) if !self.reaches(floor) => "BELOW THE HARD FLOOR",
            (Some(target), _) if self.reaches(target) => "target reached",
            (Some(_), _) => "target missed",
            (None, _) => "",
        }
    }
}

/// The middle value; of an even number the mean of the two in the middle.
pub fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Where the figures come from.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    processor: String,
    cores: usize,
    memory_kib: u64,
    kernel: String,
    commit: String,
    began: String,
    load_average_before: String,
}

impl Machine {
    pub fn look() -> anyhow::Result<Machine> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_string())
                .unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let git = Command::new("git")
            .args(["rev-parse", "--short=12", "HEAD"])
            .current_dir(programs::tree()?)
            .output();
        Ok(Machine {
            processor: field(&processors, "model name"),
            cores: std::thread::available_parallelism()?.get(),
            memory_kib: memory.trim_end_matches(" kB").parse().unwrap_or(0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_string(),
            commit: git
                .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string())
                .unwrap_or_default(),
            began: OffsetDateTime::now_utc().format(&Rfc3339)?,
            load_average_before: read("/proc/loadavg").trim().to_string(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {} cores, {} MiB, Linux {}",
            self.processor,
            self.cores,
            self.memory_kib / 1024,
            self.kernel
        )?;
        writeln!(f, "commit {}, {}, load average {}", self.commit, self.began, self.load_average_before)?;
        write!(f, "client, servers and peer share the machine; every path is loopback")
    }
}

/// All figures of one run of the command.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    figures: Vec<Figure>,
}

impl Report {
    pub fn add(&mut self, figure: Figure) {
        eprintln!("  {}: {} {}", figure.what, shown(figure.median), figure.unit);
        self.figures.push(figure);
    }

    pub fn holds(&self) -> bool {
        self.figures.iter().all(|figure| figure.hard_floor.is_none_or(|floor| figure.reaches(floor)))
    }

    pub fn print(&self) {
        println!();
        for figure in &self.figures {
            println!("{}", figure.what);
            let (least, most) =
                figure.runs.iter().fold((f64::MAX, f64::MIN), |(a, b), run| (a.min(*run), b.max(*run)));
            let spread = if figure.runs.len() > 1 {
                format!(" ({} runs, {} to {})", figure.runs.len(), shown(least), shown(most))
            } else {
                String::new()
            };
            println!("    {} {}{spread}  {}", shown(figure.median), figure.unit, figure.verdict());
            let mark = |name: &str, mark: Option<f64>| {
                mark.map(|mark| format!("{name} {} {}", shown(mark), figure.unit)).into_iter()
            };
            let marks: Vec<String> =
                mark("target", figure.target).chain(mark("hard floor", figure.hard_floor)).collect();
            if !marks.is_empty() {
                println!("    {}", marks.join(", "));
            }
            for (what, beside) in &figure.beside {
                println!("    beside it: {what}: {}", shown(*beside));
            }
        }
    }

    /// Writes everything, raw runs included, to a dated file.
    pub fn keep(&self, machine: &Machine) -> anyhow::Result<PathBuf> {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let all = serde_json::json!({
            "machine": machine,
            "load_average_after": load.trim(),
            "debug_build": cfg!(debug_assertions),
            "figures": self.figures,
        });
        let stamp = machine
            .began
            .split('.')
            .next()
            .unwrap_or("undated")
            .replace([':', '-'], "")
            .trim_end_matches('Z')
            .to_string();
        let path = programs::output("")?.join(format!("bench-{stamp}.json"));
        std::fs::write(&path, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Three significant digits are more than these figures have.
fn shown(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{figure:.0}");
            let groups: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .filter_map(|part| std::str::from_utf8(part).ok())
                .collect();
            groups.join(",")
        }
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_runs_is_compared() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        let figure =
            |runs: &[f64]| Figure::of("x", "ms", Better::Lower, runs.to_vec()).target(2.0).hard_floor(5.0);
        assert_eq!(figure(&[1.0, 2.0, 9.0]).verdict(), "target reached");
        assert_eq!(figure(&[3.0]).verdict(), "target missed");
        assert_eq!(figure(&[5.1]).verdict(), "BELOW THE HARD FLOOR");
    }

    #[test]
    fn a_figure_that_was_not_measured_does_not_hold() {
        let mut report = Report::default();
        report.figures.push(Figure::of("x", "ms", Better::Lower, Vec::new()).hard_floor(5.0));
        assert!(!report.holds());
    }

    #[test]
    fn figures_are_shown_with_the_digits_they_have() {
        for (figure, text) in [(1234567.0, "1,234,567"), (150.4, "150"), (1.234, "1.23"), (0.01234, "0.0123")]
        {
            assert_eq!(shown(figure), text);
        }
    }
}
