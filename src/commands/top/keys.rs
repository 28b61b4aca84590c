//! The typed keys and the state of the screen.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::Model;
use super::views;

/// The longest text that can be typed.
const TYPED_MAX: usize = 512;

/// The views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Overview,
    Members,
    Records,
    Files,
    Lookups,
}

impl View {
    pub(super) const ALL: [(Self, &'static str); 5] = [
        (Self::Overview, "overview"),
        (Self::Members, "members"),
        (Self::Records, "records"),
        (Self::Files, "files"),
        (Self::Lookups, "lookups"),
    ];
}

/// A line that is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prompt {
    Filter,
    Trace(String),
}

/// The action that a key requires of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    End,
    Doctor,
    Trace(String),
}

/// The state of the screen.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    pub(super) view: View,
    pub(super) filter: String,
    pub(super) prompt: Option<Prompt>,
    pub(super) selected: usize,
    /// A text over the rest, and its first line that is shown.
    pub(super) over: Option<(Vec<String>, usize)>,
    pub(super) colours: bool,
    /// Whether the keys are named on the screen; not in a plain frame.
    pub(super) live: bool,
}

impl Screen {
    pub(super) const fn new(colours: bool) -> Self {
        Self {
            view: View::Overview,
            filter: String::new(),
            prompt: None,
            selected: 0,
            over: None,
            colours,
            live: true,
        }
    }

    pub(super) const fn plain() -> Self {
        let mut screen = Self::new(false);
        screen.live = false;
        screen
    }

    /// Shows a text over the rest.
    pub(super) fn show(&mut self, lines: Vec<String>) {
        self.over = Some((lines, 0));
    }

    pub(super) fn on_key(&mut self, key: KeyEvent, model: &Model) -> Asked {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Asked::End;
        }
        if let Some(prompt) = self.prompt.take() {
            return self.on_typed(prompt, key.code);
        }
        if let Some((lines, first)) = &mut self.over {
            let last = lines.len().saturating_sub(1);
            match key.code {
                KeyCode::Down | KeyCode::Char('j') => *first = (*first + 1).min(last),
                KeyCode::Up | KeyCode::Char('k') => *first = first.saturating_sub(1),
                KeyCode::PageDown | KeyCode::Char(' ') => *first = (*first + 10).min(last),
                KeyCode::PageUp => *first = first.saturating_sub(10),
                _ => self.over = None,
            }
            return Asked::Nothing;
        }
        self.on_command(key.code, model)
    }

    fn on_command(&mut self, code: KeyCode, model: &Model) -> Asked {
        let rows = views::rows(model, self).len();
        match code {
            KeyCode::Char('q') => return Asked::End,
            KeyCode::Char(digit @ '1'..='5') => {
                let at = digit as usize - '1' as usize;
                (self.view, self.selected) = (View::ALL[at].0, 0);
            }
            KeyCode::Tab => {
                let at = View::ALL.iter().position(|(view, _)| *view == self.view).unwrap_or(0);
                (self.view, self.selected) = (View::ALL[(at + 1) % View::ALL.len()].0, 0);
            }
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::PageDown => self.selected += 10,
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(10),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = rows,
            KeyCode::Char('/') => self.prompt = Some(Prompt::Filter),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Enter => self.show(views::explained(model, self)),
            KeyCode::Char('?' | 'h') => self.show(views::help()),
            KeyCode::Char('d') => {
                self.show(vec!["the node examines itself and asks others ...".into()]);
                return Asked::Doctor;
            }
            KeyCode::Char('t') => self.prompt = Some(Prompt::Trace(String::new())),
            _ => {}
        }
        self.selected = self.selected.min(rows.saturating_sub(1));
        Asked::Nothing
    }

    fn on_typed(&mut self, mut prompt: Prompt, code: KeyCode) -> Asked {
        let text = match &mut prompt {
            Prompt::Filter => &mut self.filter,
            Prompt::Trace(name) => name,
        };
        match code {
            KeyCode::Char(letter) if text.len() < TYPED_MAX => text.push(letter),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Esc => {
                text.clear();
                return Asked::Nothing;
            }
            KeyCode::Enter => {
                return match prompt {
                    Prompt::Trace(name) if !name.is_empty() => {
                        self.show(vec![format!("looking for {name} ...")]);
                        Asked::Trace(name)
                    }
                    Prompt::Trace(_) | Prompt::Filter => Asked::Nothing,
                };
            }
            _ => {}
        }
        self.selected = 0;
        self.prompt = Some(prompt);
        Asked::Nothing
    }
}
