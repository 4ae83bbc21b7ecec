//! `mereo data`: what is embedded, what can be fetched, and where it lies.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::fetch::{self, Ask, Fetched, Step};
use crate::{show, stop};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Flags of `mereo data`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
}

const EXAMPLES: &str = "\
Examples:
  mereo data list                               names, shapes, terms
  mereo data fetch olivetti                     downloads, checks and unpacks; `mereo compare olivetti` then works
  mereo data fetch lfw --from ~/Downloads       the same from a file at hand, without a network
  mereo data fetch https://example.org/x.npy    any file that mereo can read";

/// What to do with named data.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// List the embedded data and what can be fetched, with shape, terms and credit.
    List,
    /// Show all that is known of one data set.
    Show {
        /// The name.
        name: String,
    },
    /// Download data, check it, and keep it in the cache folder; an interrupted download is continued.
    Fetch {
        /// A name of `mereo data list`, or an http(s) address.
        what: String,
        /// A folder (or the file itself) at hand, used in place of the network.
        #[arg(long, value_name = "FOLDER")]
        from: Option<PathBuf>,
        /// The SHA-256 that the file of an address must have.
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// Fetch it even if it is in the cache.
        #[arg(long)]
        again: bool,
    },
    /// Print where fetched data lies, or the cache folder.
    Path {
        /// The name or the address that was fetched.
        name: Option<String>,
    },
}

/// Does what was asked.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    match &args.what {
        What::List => list(global),
        What::Show { name } => show_one(name, global),
        What::Fetch { what, from, sha256, again } => {
            bring(&Ask { what, from: from.as_deref(), sha256: sha256.as_deref(), again: *again }, global)
        }
        What::Path { name } => path(name.as_deref(), global),
    }
}

/// One data set, embedded or not, as JSON has it.
struct Known {
    name: &'static str,
    /// `embedded`, `fetched` or `can be fetched`.
    state: &'static str,
    shape: (usize, usize),
    image: Option<(usize, usize)>,
    about: &'static str,
    licence: &'static str,
    credit: &'static str,
    path: Option<PathBuf>,
}

fn known() -> Vec<Known> {
    let embedded = mereo::data::list().iter().map(|set| Known {
        name: set.name,
        state: "embedded",
        shape: (set.rows, set.cols),
        image: set.image,
        about: set.about,
        licence: set.licence,
        credit: set.credit,
        path: None,
    });
    let remote = fetch::list().iter().map(|set| {
        let path = fetch::cached(set.name).map(|f| f.path);
        Known {
            name: set.name,
            state: if path.is_some() { "fetched" } else { "can be fetched" },
            shape: (set.rows, set.image.0 * set.image.1),
            image: Some(set.image),
            about: set.about,
            licence: set.licence,
            credit: set.credit,
            path,
        }
    });
    embedded.chain(remote).collect()
}

impl Known {
    fn json(&self) -> Value {
        json!({
            "name": self.name, "state": self.state, "rows": self.shape.0, "cols": self.shape.1, "image": self.image,
            "about": self.about, "licence": self.licence, "credit": self.credit,
            "path": self.path.as_ref().map(|p| p.display().to_string()), "notice": self.notice(),
        })
    }

    /// What its terms want in every copy.
    fn notice(&self) -> Option<&'static str> {
        mereo::data::notice(self.name)
    }

    fn image(&self) -> String {
        self.image.map_or_else(String::new, |(h, w)| format!("{h}x{w}"))
    }
}

fn list(global: &Global) -> Result<()> {
    let sets = known();
    if global.json {
        return show::json(&sets.iter().map(Known::json).collect::<Vec<_>>());
    }
    let rows: Vec<Vec<String>> = sets
        .iter()
        .map(|s| {
            let (n, d) = s.shape;
            vec![s.name.into(), show::count(n), show::count(d), s.image(), s.state.into(), s.licence.into(), s.credit.into()]
        })
        .collect();
    let mut text = show::table(&["name", "rows", "columns", "image", "", "terms", "credit"], &rows, &[0, 3, 4, 5, 6]);
    let abouts: Vec<_> = sets.iter().map(|s| (s.name.to_string(), s.about.to_string())).collect();
    text += "\n";
    text += &show::pairs(&abouts);
    show::print(&text)
}

fn show_one(name: &str, global: &Global) -> Result<()> {
    let sets = known();
    let Some(set) = sets.iter().find(|s| s.name == name) else {
        return match fetch::cached(name) {
            Some(have) => tell(&have, global),
            None => Err(unknown(name)),
        };
    };
    if global.json {
        return show::json(&set.json());
    }
    let (n, d) = set.shape;
    let mut rows = vec![
        ("name".into(), set.name.into()),
        ("about".into(), set.about.into()),
        ("rows".into(), show::count(n)),
        ("columns".into(), show::count(d)),
    ];
    if set.image.is_some() {
        rows.push(("image".into(), format!("{} (height x width)", set.image())));
    }
    rows.push(("terms".into(), set.licence.into()));
    rows.push(("credit".into(), set.credit.into()));
    let state = match &set.path {
        Some(path) => format!("fetched, {}", path.display()),
        None if set.state == "embedded" => "embedded".into(),
        None => format!("can be fetched: mereo data fetch {}", set.name),
    };
    rows.push(("where".into(), state));
    let mut text = show::pairs(&rows);
    if let Some(notice) = set.notice() {
        text += "\n";
        text += notice;
    }
    show::print(&text)
}

fn bring(ask: &Ask, global: &Global) -> Result<()> {
    let asked = stop::on_request("stopping; what came so far is kept", global.quiet);
    let bar = Bar::new(global);
    let have = fetch::run(ask, &mut |seen| {
        bar.show(seen);
        if asked.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.0.finish_and_clear();
    let have = have?;
    if !have.fresh {
        global.say(format_args!("note: `{}` was already in the cache; --again fetches it anew", have.name));
    }
    tell(&have, global)
}

/// What lies in the cache.
fn tell(have: &Fetched, global: &Global) -> Result<()> {
    if global.json {
        return show::json(have);
    }
    let mut rows = vec![("name".into(), have.name.clone()), ("about".into(), have.about.clone())];
    if let Some((n, d)) = have.shape {
        rows.push(("rows".into(), show::count(n)));
        rows.push(("columns".into(), show::count(d)));
    }
    for (name, value) in [("terms", &have.licence), ("credit", &have.credit)] {
        if let Some(value) = value {
            rows.push((name.into(), value.clone()));
        }
    }
    rows.push(("from".into(), have.from.clone()));
    rows.push(("sha256".into(), have.sha256.clone()));
    rows.push(("file".into(), format!("{} ({})", have.path.display(), show::bytes(have.bytes))));
    if let Some(labels) = &have.labels {
        rows.push(("labels".into(), labels.display().to_string()));
    }
    show::print(&show::pairs(&rows))
}

fn path(name: Option<&str>, global: &Global) -> Result<()> {
    let path = match name {
        None => fetch::folder()?,
        Some(name) => match fetch::cached(name) {
            Some(have) => have.path,
            None if mereo::data::find(name).is_some() => {
                return Err(Failure::other(format!(
                    "`{name}` is embedded in mereo and has no file; name it wherever DATA is asked for"
                )));
            }
            None if fetch::list().iter().any(|r| r.name == name) => {
                return Err(Failure::other(format!("`{name}` isn't fetched yet; run `mereo data fetch {name}`")));
            }
            None => return Err(unknown(name)),
        },
    };
    if global.json {
        return show::json(&json!({ "name": name, "path": path.display().to_string() }));
    }
    show::print(&format!("{}\n", path.display()))
}

fn unknown(name: &str) -> Failure {
    let names: Vec<&str> = known().iter().map(|s| s.name).collect();
    let near = mereo::data::closest(name, &names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::other(format!("there is no data set `{name}`; there are {}{near}", names.join(", ")))
}

/// The bar of a fetch: bytes and time left.
struct Bar(ProgressBar);

impl Bar {
    fn new(global: &Global) -> Self {
        if global.quiet || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
        }
        let bar = ProgressBar::no_length();
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {msg}, {binary_bytes_per_sec}, {eta} left")
        {
            bar.set_style(style.progress_chars("━╸─"));
        }
        Self(bar)
    }

    fn show(&self, seen: fetch::Progress) {
        self.0.set_message(match seen.step {
            Step::Download => "downloading",
            Step::Check => "checking",
            Step::Convert => "unpacking",
        });
        if let Some(total) = seen.total {
            self.0.set_length(total);
        }
        self.0.set_position(seen.done);
    }
}
