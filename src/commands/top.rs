//! `top`: the first screen of the dashboard on a terminal, from the same model.
//!
//! **Invariants:** drawing is a pure function of the node's answers and the typed keys; the terminal is
//! restored at the end, also after a panic; a screen is drawn only when something changed, four times a
//! second at most.

mod draw;
mod feed;
mod keys;
mod views;

use std::io::IsTerminal as _;
use std::time::Duration;

use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::{DefaultTerminal, Terminal};

use crate::cli::{Global, TopArgs};
use crate::client::Client;
use crate::failure::Failure;
use crate::out::Out;

use feed::Feed;
use keys::{Asked, Screen};

/// Longest wait for a key: a quarter of a second between two screens.
const PACE: Duration = Duration::from_millis(250);
/// The size of a plain frame if there is no terminal.
const PLAIN: (u16, u16) = (100, 40);

/// Runs the command.
pub(crate) fn run(global: &Global, args: &TopArgs) -> Result<(), Failure> {
    let out = global.out();
    let client = Client::of(global)?;
    let model = feed::load(&client)?;
    if out.json {
        return out.object(&model.overview);
    }
    if args.batch || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return plain(out, &model);
    }
    let mut terminal = ratatui::try_init().map_err(|error| {
        Failure::failed(format!("this terminal cannot be used: {error}")).hint("try potluck top -b")
    })?;
    let result = live(&mut terminal, Feed::begin(client, model));
    ratatui::restore();
    result
}

/// One frame as plain text.
fn plain(out: Out, model: &feed::Model) -> Result<(), Failure> {
    let size = terminal_size::terminal_size().map(|(width, height)| (width.0, height.0));
    let (width, height) =
        size.filter(|(width, height)| *width >= 40 && *height >= 12).unwrap_or(PLAIN);
    let text = frame(model, &Screen::plain(), width, height)?;
    out.bytes(text.as_bytes())
}

/// The text of a screen of this size.
fn frame(model: &feed::Model, screen: &Screen, width: u16, height: u16) -> Result<String, Failure> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).map_err(Failure::failed)?;
    terminal.draw(|frame| draw::draw(frame, model, screen)).map_err(Failure::failed)?;
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(width)) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// Draws and reads keys until the user quits.
fn live(terminal: &mut DefaultTerminal, feed: Feed) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("the terminal failed: {error}"));
    let mut screen = Screen::new(std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()));
    let mut changed = true;
    loop {
        changed |= feed.is_newer(&mut screen);
        if changed {
            let model = feed.model();
            terminal.draw(|frame| draw::draw(frame, &model, &screen)).map_err(failed)?;
        }
        changed = false;
        if !event::poll(PACE).map_err(failed)? {
            continue;
        }
        match event::read().map_err(failed)? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                changed = true;
                match screen.on_key(key, &feed.model()) {
                    Asked::Nothing => {}
                    Asked::End => return Ok(()),
                    Asked::Doctor => feed.doctor(),
                    Asked::Trace(name) => feed.trace(name),
                }
            }
            Event::Resize(..) => changed = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
