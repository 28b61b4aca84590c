//! Draws a screen. No state is shown by colour alone: each has a word or a mark too.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as TextLine, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Row, Table, TableState, Wrap};

use super::feed::Model;
use super::keys::{Prompt, Screen, View};
use super::views::{self, Line};
use crate::commands::table::{bytes, short, span};
use crate::text::printable;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame, model: &Model, screen: &Screen) {
    let [title, health, body, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let paint = Paint { colours: screen.colours };
    frame.render_widget(Paragraph::new(title_line(model, screen)), title);
    frame.render_widget(health_text(model, paint), health);
    match screen.view {
        View::Overview => overview(frame, body, model, screen),
        View::Members | View::Records | View::Files | View::Lookups => {
            let name =
                View::ALL.iter().find(|(view, _)| *view == screen.view).map_or("", |it| it.1);
            list(frame, body, Head { title: name, screen }, &views::rows(model, screen));
        }
    }
    frame.render_widget(Paragraph::new(key_line(screen)), keys);
    if let Some((lines, first)) = &screen.over {
        over(frame, lines, *first);
    }
}

/// Whether colours are used.
#[derive(Debug, Clone, Copy)]
struct Paint {
    colours: bool,
}

impl Paint {
    fn of(self, tone: &str) -> Style {
        let colour = match tone {
            "good" | "ok" => Color::Green,
            "warn" | "degraded" => Color::Yellow,
            "bad" | "offline" => Color::Red,
            _ => return Style::new(),
        };
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

fn title_line(model: &Model, screen: &Screen) -> String {
    let overview = &model.overview;
    let machine = &overview.machine;
    let view = View::ALL.iter().find(|(view, _)| *view == screen.view).map_or("", |it| it.1);
    printable(&format!(
        "Potluck  {}  {} {}  up {}  {view}",
        overview.network.name,
        machine.name,
        short(&machine.node_id).get(..8).unwrap_or(""),
        span(machine.uptime_seconds),
    ))
}

fn health_text(model: &Model, paint: Paint) -> Paragraph<'static> {
    let (text, tone) = match &model.trouble {
        Some(trouble) => (format!("what is shown is old: {trouble}"), "bad"),
        None => (model.overview.health.sentence.clone(), model.overview.health.health.as_str()),
    };
    Paragraph::new(printable(&text)).style(paint.of(tone)).wrap(Wrap { trim: true })
}

fn key_line(screen: &Screen) -> String {
    match &screen.prompt {
        Some(Prompt::Filter) => format!("filter: {}_", screen.filter),
        Some(Prompt::Trace(name)) => format!("trace which name: {name}_"),
        None if !screen.live => String::new(),
        None if !screen.filter.is_empty() => {
            format!("only rows with '{}'; Esc shows all", screen.filter)
        }
        None => "1-5 views  / filter  Enter explains  d doctor  t trace  ? help  q end".to_owned(),
    }
}

fn overview(frame: &mut Frame, area: Rect, model: &Model, screen: &Screen) {
    let transfers =
        model.overview.transfers.len().clamp(1, usize::from(area.height / 4).max(1)) as u16;
    let [top, middle, files, events] = Layout::vertical([
        Constraint::Length(8),
        Constraint::Length(4),
        Constraint::Length(transfers + 1),
        Constraint::Min(2),
    ])
    .areas(area);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(top);
    let paint = Paint { colours: screen.colours };
    facts(frame, left, "this machine", &machine(model), paint);
    facts(frame, right, "the network", &network(model), paint);
    facts(frame, middle, "records, lookups, traffic", &work(model), paint);
    let none = vec![Line { cells: vec!["no fetch is under way".to_owned()], ..Line::default() }];
    let screen_of = |view| Screen { view, filter: String::new(), ..screen.clone() };
    let all = views::rows(model, &screen_of(View::Files));
    let all = if all.is_empty() { none } else { all };
    plain_list(frame, files, "transfers", &all);
    list(frame, events, Head { title: "last events", screen }, &views::rows(model, screen));
}

/// Purposes of traffic that the line shows, the largest first.
const PURPOSES_MAX: usize = 4;

type Fact = (&'static str, String, &'static str);

fn machine(model: &Model) -> Vec<Fact> {
    let machine = &model.overview.machine;
    let of = |part: u64, whole: u64| match whole {
        0 => bytes(part),
        whole => format!("{} of {}", bytes(part), bytes(whole)),
    };
    let disk = match machine.disk_limit_bytes {
        0 => format!("{}, {} free", bytes(machine.disk_bytes), bytes(machine.disk_free_bytes)),
        limit => of(machine.disk_bytes, limit),
    };
    let clock = match machine.clock_offset_ms {
        None => "not compared yet".to_owned(),
        Some(-999..=999) => "right within a second".to_owned(),
        Some(offset) => {
            let word = if offset < 0 { "ahead" } else { "behind" };
            format!("{} {word}", span(offset.unsigned_abs() / 1000))
        }
    };
    vec![
        ("version", machine.version.clone(), ""),
        ("processor", format!("{:.1} % of a core", machine.cpu_percent), ""),
        ("memory", of(machine.memory_bytes, machine.memory_limit_bytes), ""),
        ("disk", disk, ""),
        ("files", format!("{}, {}", machine.files, bytes(machine.file_bytes)), ""),
        ("clock", clock, ""),
        (
            "late by",
            format!("{:.1} ms", machine.loop_lag_ms),
            if machine.loop_lag_ms > 500.0 { "warn" } else { "" },
        ),
    ]
}

fn network(model: &Model) -> Vec<Fact> {
    let (network, traffic) = (&model.overview.network, &model.overview.traffic);
    let some = |count: usize, tone| if count > 0 { tone } else { "" };
    vec![
        ("alive", network.alive.to_string(), "good"),
        ("suspect", network.suspect.to_string(), some(network.suspect, "warn")),
        ("dead", network.dead.to_string(), some(network.dead, "bad")),
        ("left", network.left.to_string(), ""),
        ("about", format!("{} nodes", network.size_estimate), ""),
        ("talks to", format!("{}, linked to {}", network.peers, network.neighbours), ""),
        (
            "bytes/s",
            format!(
                "{} in, {} out",
                bytes(traffic.bytes_per_second.r#in as u64),
                bytes(traffic.bytes_per_second.out as u64)
            ),
            "",
        ),
    ]
}

fn work(model: &Model) -> Vec<Fact> {
    let (records, lookups) = (&model.overview.records, &model.overview.lookups);
    let short = match records.surveyed {
        0 => "replicas not asked yet".to_owned(),
        asked => format!("{} of {asked} asked about under-replicated", records.under_replicated),
    };
    let worse = records.under_replicated + records.conflicted > 0;
    let mut purposes: Vec<_> = model.overview.traffic.purposes.iter().collect();
    purposes.retain(|it| it.r#in + it.out >= 1.0);
    purposes.sort_by(|a, b| (b.r#in + b.out).total_cmp(&(a.r#in + a.out)));
    let purposes: Vec<String> = purposes
        .into_iter()
        .take(PURPOSES_MAX)
        .map(|it| format!("{} {}/{}", it.purpose, brief(it.r#in), brief(it.out)))
        .collect();
    vec![
        (
            "records",
            format!("{} held; {short}; {} in conflict", records.held, records.conflicted),
            if worse { "warn" } else { "" },
        ),
        (
            "lookups",
            format!(
                "half within {:.1} ms, 99 % within {:.1} ms, {} of {} failed",
                lookups.p50_ms, lookups.p99_ms, lookups.failed, lookups.count
            ),
            if lookups.failed > 0 { "warn" } else { "" },
        ),
        ("in/out", purposes.join(", "), ""),
    ]
}

/// Bytes in few columns.
fn brief(rate: f64) -> String {
    if rate < 1.0 { "0".to_owned() } else { bytes(rate as u64) }
}

/// A line with a name above a part of the screen.
fn titled(title: &str) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(format!(" {title} "))
}

fn facts(frame: &mut Frame, area: Rect, title: &str, facts: &[Fact], paint: Paint) {
    let lines = facts.iter().map(|(name, value, tone)| {
        TextLine::from(vec![
            Span::raw(format!("{name:<10} ")),
            Span::styled(printable(value), paint.of(tone)),
        ])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(titled(title)), area);
}

fn plain_list(frame: &mut Frame, area: Rect, title: &str, rows: &[Line]) {
    let lines = rows.iter().map(|row| TextLine::from(row.cells.join("  ")));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(titled(title)), area);
}

/// The title of a list, and the screen that it is on.
#[derive(Debug, Clone, Copy)]
struct Head<'a> {
    title: &'a str,
    screen: &'a Screen,
}

/// A list with a selected row.
fn list(frame: &mut Frame, area: Rect, Head { title, screen }: Head<'_>, rows: &[Line]) {
    let paint = Paint { colours: screen.colours };
    let head = views::head(screen.view);
    let mut widths: Vec<u16> = head.iter().map(|it| it.len() as u16).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width =
                (*width).max(unicode_width::UnicodeWidthStr::width(cell.as_str()).min(40) as u16);
        }
    }
    let last = widths.len() - 1;
    let limits = widths.iter().enumerate().map(|(at, width)| {
        if at == last { Constraint::Fill(1) } else { Constraint::Length(*width) }
    });
    let shown = rows.iter().map(|row| Row::new(row.cells.clone()).style(paint.of(row.tone)));
    let title = format!("{title}: {}", rows.len());
    let table = Table::new(shown, limits)
        .header(Row::new(head.to_vec()))
        .column_spacing(2)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(titled(&title));
    let selected =
        (screen.live && !rows.is_empty()).then_some(screen.selected.min(rows.len().max(1) - 1));
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(selected));
}

/// A text over the rest of the screen.
fn over(frame: &mut Frame, lines: &[String], first: usize) {
    let all = frame.area();
    let [_, area, _] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(3), Constraint::Length(2)])
            .areas(all);
    let [_, area, _] =
        Layout::horizontal([Constraint::Length(2), Constraint::Min(10), Constraint::Length(2)])
            .areas(area);
    let text: Vec<TextLine> =
        lines.iter().skip(first).map(|line| TextLine::from(line.clone())).collect();
    let block = Block::new().borders(Borders::ALL).title(" arrows scroll, any other key closes ");
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).block(block), area);
}
