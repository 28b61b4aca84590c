//! A report as one page: no script, nothing from elsewhere, light and dark, fit for paper.

use std::fmt::Write as _;

use super::svg::svg;
use super::{Claim, Report, Table, number};

/// What a page says about how it was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// Version of the program.
    pub version: String,
    /// The commit that it was built from, if the build recorded it.
    pub commit: Option<String>,
}

const STYLE: &str = "\
:root{--bg:#fff;--fg:#1b1f24;--soft:#5b6570;--line:#d5dae0;--ok:#11723a;--bad:#b3261e;\
--k0:#1f5fbf;--k1:#c2410c;--k2:#15803d;--k3:#7e3ab8;--k4:#a16207;--k5:#0e7490;--k6:#be185d;--k7:#475569}\
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e8eaed;--soft:#a2abb5;--line:#343b43;--ok:#5fd38d;\
--bad:#ff8a80;--k0:#7db4ff;--k1:#ffa066;--k2:#6ee7a0;--k3:#cfa5ff;--k4:#f2cf63;--k5:#67d8ef;--k6:#ff9ccb;--k7:#b6c2d0}}\
body{background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}.verdict{font-size:1.15rem}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}\
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}\
th:first-child,td:first-child,.text{text-align:left}th{color:var(--soft);font-weight:600}\
.ok{color:var(--ok);font-weight:700}.bad{color:var(--bad);font-weight:700}.plots{display:grid;\
grid-template-columns:repeat(auto-fill,minmax(min(22rem,100%),1fr));gap:1.5rem}figure{margin:0;break-inside:avoid}\
figcaption{font-weight:600}svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:var(--soft)}\
.end{text-anchor:end}.mid{text-anchor:middle}.grid{stroke:var(--line);stroke-width:.6;fill:none}\
.axis{stroke:var(--soft);fill:none}.legend{list-style:none;margin:.2rem 0;padding:0;font-size:.85rem;\
display:flex;flex-wrap:wrap;gap:.1rem 1rem}g path{fill:none;stroke:currentColor;stroke-width:1.8}\
g circle{fill:currentColor}g.formula path{stroke-width:1}g.dashed path{stroke-dasharray:5 4}\
.c0{color:var(--k0)}.c1{color:var(--k1)}.c2{color:var(--k2)}.c3{color:var(--k3)}.c4{color:var(--k4)}\
.c5{color:var(--k5)}.c6{color:var(--k6)}.c7{color:var(--k7)}code{overflow-wrap:anywhere}\
footer{margin-top:2rem;color:var(--soft);font-size:.9rem}\
@media print{:root{--bg:#fff;--fg:#000;--soft:#333;--line:#bbb}body{margin:0;max-width:none;font-size:11pt}\
.plots{grid-template-columns:1fr 1fr}}";

/// Text within HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The page.
#[must_use]
pub fn html(report: &Report, manifest: &Manifest) -> String {
    let (question, verdict) = (escaped(&report.question), escaped(&report.verdict));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{question}</title><style>{STYLE}</style></head><body>\n\
         <h1>{question}</h1>\n<p class=\"verdict\">{verdict}</p>\n"
    );
    claims(&mut out, &report.claims);
    report.tables.iter().for_each(|it| table(&mut out, it));
    if !report.plots.is_empty() {
        out.push_str("<h2>Pictures</h2>\n<div class=\"plots\">\n");
        for plot in &report.plots {
            let title = escaped(&plot.title);
            let _ = writeln!(out, "<figure><figcaption>{title}</figcaption>{}</figure>", svg(plot));
        }
        out.push_str("</div>\n");
    }
    if !report.notes.is_empty() {
        out.push_str("<h2>What to know about these figures</h2>\n<ul>\n");
        for note in &report.notes {
            let _ = writeln!(out, "<li>{}</li>", escaped(note));
        }
        out.push_str("</ul>\n");
    }
    let commit = manifest.commit.as_deref().unwrap_or("not recorded in this build");
    let _ = write!(
        out,
        "<footer>Repeat: <code>{}</code><br>{}; {} measurements; potluck {}; commit {}</footer>\n</body></html>\n",
        escaped(&report.command),
        report.seeds_text(),
        report.facts.len(),
        escaped(&manifest.version),
        escaped(commit)
    );
    out
}

fn claims(out: &mut String, claims: &[Claim]) {
    if claims.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Figures beside what they should be</h2>\n<table><tr><th>claim</th><th></th><th>measured</th>\
         <th>range</th><th>should be</th><th class=\"text\">setting</th><th class=\"text\">source</th></tr>\n",
    );
    for claim in claims {
        let (class, word) = if claim.holds() { ("ok", "ok") } else { ("bad", "outside") };
        let [least, middle, most] = claim.measured.map(number);
        let reason = claim
            .reason
            .as_ref()
            .filter(|_| !claim.holds())
            .map(|it| format!("<br>{}", escaped(it)));
        let _ = writeln!(
            out,
            "<tr><td>{}{}</td><td class=\"{class}\">{word}</td><td>{middle} {}</td><td>{least} to {most}</td>\
             <td>{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>",
            escaped(&claim.name),
            reason.unwrap_or_default(),
            escaped(claim.unit),
            escaped(&claim.wanted()),
            escaped(&claim.setting),
            escaped(claim.source)
        );
    }
    out.push_str("</table>\n");
}

fn table(out: &mut String, table: &Table) {
    let _ = write!(out, "<h2>{}</h2>\n<table><tr>", escaped(&table.title));
    for column in &table.columns {
        let _ = write!(out, "<th>{}</th>", escaped(column));
    }
    out.push_str("</tr>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escaped(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_is_the_same_each_time() {
        let manifest = Manifest { version: "1.0".into(), commit: Some("abc".into()) };
        let page = html(&example(), &manifest);
        assert_eq!(page, html(&example(), &manifest));
        for foreign in ["http:", "https:", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("commit abc") && page.contains("class=\"bad\">outside"));
        assert!(page.len() < 20_000, "{}", page.len());
        for tag in ["table", "tr", "td", "svg", "g", "figure", "ul", "li", "text"] {
            let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
            let opened = page.matches(&format!("{open}>")).count()
                + page.matches(&format!("{open} ")).count();
            assert_eq!(opened, page.matches(&close).count(), "{tag}");
        }
    }
}
