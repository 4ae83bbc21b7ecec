//! Data from the network: found, downloaded, checked, and turned into a plain matrix in the cache folder.
//!
//! A set lives in one folder of the cache: `NAME/NAME.npy` (rows × columns of f32 in [0, 1]), `NAME/labels.txt` (one line a
//! row, where the set has classes) and `NAME/about.json`, written last, so that its presence says that the rest is whole. Any
//! other address keeps its file as it came, under `url-…/`. [`cached`] finds both again by what the user called them.
//!
//! | variable | what |
//! |---|---|
//! | `MEREO_CACHE` | the cache folder, in place of the platform's |
//! | `MEREO_MIRROR` | an address that serves the files under their own names, asked in place of the publishers |
//! | `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` | the way out of a closed network |
//! | `SSL_CERT_FILE` | certificates to trust beside the system's, on Linux |

mod cache;
mod convert;
mod download;
#[cfg(test)]
mod tests;

pub use cache::folder;

use crate::failure::{Failure, Result};
use cache::{disk, file_name, key, lock, read, remove, size, starts_like_a_page, sum_of, write};
use convert::Trouble;
use download::Net;
use serde::{Deserialize, Serialize};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A set of rows that others publish.
#[derive(Debug, Clone)]
pub struct Remote {
    /// What the user calls it.
    pub name: &'static str,
    /// One sentence: what the rows are, in which order, and how they were prepared.
    pub about: &'static str,
    /// Number of rows.
    pub rows: usize,
    /// Height and width of the picture in a row.
    pub image: (usize, usize),
    /// The terms under which it may be used.
    pub licence: &'static str,
    /// Whom to name when it is used.
    pub credit: &'static str,
    /// The publisher's file.
    file: &'static str,
    /// Where it is, tried in this order.
    urls: &'static [&'static str],
    /// The SHA-256 of the publisher's file, where it is public.
    sha256: Option<&'static str>,
    /// The SHA-256 of the pixels, one byte each, in the order of the rows: it knows the pictures in any packing.
    pixels: Option<&'static str>,
    kind: Kind,
}

/// How a publisher's file becomes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Olivetti,
    Lfw,
    Cifar10,
    Cbcl,
}

/// The sets with a name. Addresses and sums of the first two: scikit-learn 1.9.1, `sklearn.datasets`.
const REMOTES: &[Remote] = &[
    Remote {
        name: "olivetti",
        about: "the Olivetti faces: 40 people with 10 pictures each, ordered by person; grey, stretched to 0 to 1",
        rows: 400,
        image: (64, 64),
        licence: "free to use with credit",
        credit: "AT&T Laboratories Cambridge",
        file: "olivettifaces.mat",
        urls: &["https://ndownloader.figshare.com/files/5976027"],
        sha256: Some("b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794"),
        pixels: Some("a3f75007cc103363b61a63e06bec8ea4846407682ef6e7c9ae1eb9c1bd0e8a00"),
        kind: Kind::Olivetti,
    },
    Remote {
        name: "lfw",
        about: "Labeled Faces in the Wild, funneled, all 13,233 pictures ordered by person: rows 70 to 194, columns 78 to 171, \
                halved; grey, 0 to 1, as scikit-learn's fetch_lfw_people(min_faces_per_person=0, resize=0.5) without its shuffle",
        rows: 13_233,
        image: (62, 47),
        licence: "research only, no redistribution",
        credit: "Huang, Ramesh, Berg & Learned-Miller, Labeled Faces in the Wild, University of Massachusetts Amherst TR 07-49, 2007",
        file: "lfw-funneled.tgz",
        urls: &["https://ndownloader.figshare.com/files/5976015"],
        sha256: Some("b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a"),
        pixels: None,
        kind: Kind::Lfw,
    },
    Remote {
        name: "cbcl",
        about: "MIT-CBCL faces, the 2,429 training faces of Lee & Seung 1999, in the order of the files; grey, 0 to 1",
        rows: 2429,
        image: (19, 19),
        licence: "research only",
        credit: "CBCL Face Database #1, MIT Center For Biological and Computation Learning",
        file: "faces.tar.gz",
        // Neither comes with a published sum, so the pixels are checked.
        urls: &[
            "http://cbcl.mit.edu/projects/cbcl/software-datasets/faces.tar.gz",
            "http://www.ai.mit.edu/courses/6.899/lectures/faces.tar.gz",
        ],
        sha256: None,
        pixels: Some("3dbca855d225475fde5914e42a5417c6b18457978d60051ce2b573af0d607148"),
        kind: Kind::Cbcl,
    },
    Remote {
        name: "cifar10",
        about: "the 50,000 training pictures of CIFAR-10 as luma (.299 R + .587 G + .114 B), 0 to 1, in the order of the batches",
        rows: 50_000,
        image: (32, 32),
        licence: "no licence stated by its authors; cite them",
        credit: "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        file: "cifar-10-binary.tar.gz",
        urls: &["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"],
        // Of the file whose MD5 its page gives, c32a1d4ab5d03f1284b67883e8d87530 (170,052,171 bytes).
        sha256: Some("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
        pixels: None,
        kind: Kind::Cifar10,
    },
];

/// What to fetch, and from where.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// A name of [`list`], or an http(s) address.
    pub what: &'a str,
    /// A folder (or the file itself) at hand, used in place of the network; nothing in it is changed.
    pub from: Option<&'a Path>,
    /// The SHA-256 that the file of an address must have.
    pub sha256: Option<&'a str>,
    /// Fetch it even if it is in the cache.
    pub again: bool,
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub step: Step,
    /// How much of it is done.
    pub done: u64,
    /// How much there is, where that is known.
    pub total: Option<u64>,
}

/// The steps of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Bytes come in.
    Download,
    /// Bytes are summed up.
    Check,
    /// Rows are made.
    Convert,
}

/// Hears of progress, and may end the fetch; what was downloaded is kept and continued by the next one.
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// A set in the cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fetched {
    /// The name or the address.
    pub name: String,
    /// The file to open: a matrix for a named set, what the address served otherwise.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// One sentence on the rows.
    pub about: String,
    /// Rows and columns, where they are known.
    pub shape: Option<(usize, usize)>,
    /// Height and width, where a row is a picture.
    pub image: Option<(usize, usize)>,
    /// One label a row, as lines of text.
    pub labels: Option<PathBuf>,
    /// The terms, where they are known.
    pub licence: Option<String>,
    /// Whom to name, where that is known.
    pub credit: Option<String>,
    /// Where it came from.
    pub from: String,
    /// SHA-256 of the file that came.
    pub sha256: String,
    /// Whether this call brought it.
    #[serde(skip)]
    pub fresh: bool,
}

/// The sets with a name.
pub fn list() -> &'static [Remote] {
    REMOTES
}

/// Fetches a named set or an address into the cache, unless it is there.
pub fn run(ask: &Ask, watch: Watch) -> Result<Fetched> {
    let remote = match REMOTES.iter().find(|r| r.name == ask.what) {
        Some(remote) => Some(remote),
        None if ask.what.contains("://") => None,
        None => return Err(unknown(ask.what)),
    };
    if remote.is_some() && ask.sha256.is_some() {
        return Err(Failure::usage(format!("--sha256 is for addresses; the sum of `{}` is built in", ask.what)));
    }
    let net = Net::from_env();
    let cache = folder()?;
    match remote {
        Some(remote) => named(&cache, &net, remote, ask, watch),
        None => address(&cache, &net, ask, watch),
    }
}

/// What was fetched under that name or address, if it is whole.
pub fn cached(what: &str) -> Option<Fetched> {
    let key = if what.contains("://") { key(what) } else { REMOTES.iter().find(|r| r.name == what)?.name.into() };
    read(&folder().ok()?.join(key))
}

fn unknown(what: &str) -> Failure {
    if mereo::data::find(what).is_some() {
        return Failure::usage(format!("`{what}` is embedded and needs no fetching; name it in place of a file"));
    }
    let names: Vec<&str> = REMOTES.iter().map(|r| r.name).collect();
    let guess = mereo::data::closest(what, &names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::usage(format!(
        "there is no data set `{what}` to fetch; there are {}, or any http(s) address{guess}",
        names.join(", ")
    ))
}

/// A named set: its file is brought and checked, made into rows, and let go.
fn named(cache: &Path, net: &Net, remote: &Remote, ask: &Ask, watch: Watch) -> Result<Fetched> {
    let slot = cache.join(remote.name);
    if let Some(have) = read(&slot).filter(|_| !ask.again && ask.from.is_none()) {
        return Ok(have);
    }
    let _lock = lock(&slot)?;
    let urls: Vec<String> = match &net.mirror {
        Some(mirror) => vec![format!("{}/{}", mirror.trim_end_matches('/'), remote.file)],
        None => remote.urls.iter().map(ToString::to_string).collect(),
    };
    let got = match ask.from {
        Some(from) => at_hand(from, remote.file, &urls[0], remote.kind == Kind::Cbcl, watch)?,
        None => match brought(&slot, net, &urls, remote.file, remote.sha256, remote.pixels.is_some(), watch) {
            Err(Failure::Other(why)) if remote.sha256.is_none() => {
                return Err(Failure::other(format!(
                    "{why}. No address of `{0}` is vouched for by a checksum ({1} were tried); take the files from where you \
                     trust them: the pixels are checked",
                    remote.name,
                    urls.join(" and ")
                )));
            }
            got => got?,
        },
    };
    let known = remote.sha256 == Some(got.sha256.as_str());
    if !known && remote.pixels.is_none() {
        return Err(got.refuse(remote.sha256.unwrap_or_default(), remote.file));
    }

    let npy = slot.join(format!("{}.npy", remote.name));
    let labels = slot.join("labels.txt");
    let labelled = match convert::rows(remote, &got.path, known, &npy, &labels, watch) {
        Ok(labelled) => labelled,
        Err(Trouble::Other(failure)) => return Err(failure),
        Err(Trouble::Content(why)) if known => {
            return Err(Failure::other(format!("{}: the sum is right, yet {why}; please report this", got.path.display())));
        }
        Err(Trouble::Content(why)) => return Err(got.refuse_with(&why)),
    };
    let about = Fetched {
        name: remote.name.into(),
        bytes: size(&npy)?,
        path: npy,
        about: remote.about.into(),
        shape: Some((remote.rows, remote.image.0 * remote.image.1)),
        image: Some(remote.image),
        labels: labelled.then_some(labels),
        licence: Some(remote.licence.into()),
        credit: Some(remote.credit.into()),
        from: got.from.clone(),
        sha256: got.sha256.clone(),
        fresh: true,
    };
    write(&slot, &about)?;
    if got.ours {
        remove(&got.path)?;
    }
    Ok(about)
}

/// Any other address: its file is kept as it came.
fn address(cache: &Path, net: &Net, ask: &Ask, watch: Watch) -> Result<Fetched> {
    let url = ask.what;
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        return Err(Failure::usage(format!("`{url}` is no address that can be fetched; it must begin with https:// or http://")));
    }
    let sum = ask.sha256.map(str::to_ascii_lowercase);
    if let Some(sum) = &sum
        && (sum.len() != 64 || !sum.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err(Failure::usage(format!("`{sum}` is no SHA-256; write its 64 hexadecimal digits")));
    }
    let slot = cache.join(key(url));
    let fits = |have: &Fetched| sum.as_ref().is_none_or(|sum| *sum == have.sha256);
    if let Some(have) = read(&slot).filter(|have| !ask.again && ask.from.is_none() && fits(have)) {
        return Ok(have);
    }
    let _lock = lock(&slot)?;
    let file = file_name(url);
    let mut got = match ask.from {
        Some(from) => at_hand(from, &file, url, false, watch)?,
        None => brought(&slot, net, &[url.to_string()], &file, sum.as_deref(), false, watch)?,
    };
    if let Some(sum) = &sum
        && got.sha256 != *sum
    {
        return Err(got.refuse(sum, &file));
    }
    if !got.ours {
        let copy = slot.join(&file);
        fs::copy(&got.path, &copy).map_err(|e| disk(&copy, &e))?;
        got.path = copy;
    }
    let about = Fetched {
        name: url.into(),
        bytes: size(&got.path)?,
        path: got.path,
        about: format!("the file that {url} served"),
        shape: None,
        image: None,
        labels: None,
        licence: None,
        credit: None,
        from: got.from,
        sha256: got.sha256,
        fresh: true,
    };
    write(&slot, &about)?;
    Ok(about)
}

/// A publisher's file on this machine.
struct Got {
    path: PathBuf,
    from: String,
    sha256: String,
    /// Whether it lies in the cache, to be removed when it is no use.
    ours: bool,
}

impl Got {
    /// The file has another sum than it must have.
    fn refuse(&self, expected: &str, file: &str) -> Failure {
        self.refuse_with(&format!("its SHA-256 is {}, and that of {file} is {expected}", self.sha256))
    }

    /// The file is not what was asked for: removed if it is ours.
    fn refuse_with(&self, why: &str) -> Failure {
        let page = if starts_like_a_page(&self.path) { ", and it looks like a web page" } else { "" };
        let (place, fix) = if self.ours {
            let _ = fs::remove_file(&self.path);
            (
                self.from.clone(),
                "it was removed. Run the same command again; if it repeats, the file was changed on its way or by its publisher: get \
                 the right one elsewhere and give its folder with --from FOLDER",
            )
        } else {
            (self.path.display().to_string(), "it was left as it is. Download it again, or leave --from out to fetch it")
        };
        Failure::other(format!("{place} is not the right file: {why}{page}; {fix}"))
    }
}

/// The file, downloaded into the slot unless an earlier run left it there. What was continued from an earlier run and then has
/// the wrong sum is downloaded once more from the start.
fn brought(slot: &Path, net: &Net, urls: &[String], file: &str, sum: Option<&str>, content: bool, watch: Watch) -> Result<Got> {
    let path = slot.join(file);
    if sum.is_some() && path.is_file() {
        let sha256 = sum_of(&path, watch)?;
        if sum == Some(sha256.as_str()) {
            return Ok(Got { path, from: urls[0].clone(), sha256, ours: true });
        }
        remove(&path)?;
    }
    let part = slot.join(format!("{file}.part"));
    let mut last = None;
    for url in urls {
        for _ in 0..2 {
            let came = match download::download(net, url, &part, file, sum.is_some() || content, watch) {
                Ok(came) => came,
                Err(Failure::Interrupted(why)) => return Err(Failure::Interrupted(why)),
                Err(e) => {
                    last = Some(e);
                    break;
                }
            };
            let sha256 = sum_of(&part, watch)?;
            if came.continued && sum.is_some_and(|sum| sum != sha256) {
                download::forget(&part)?;
                continue;
            }
            // Where an address has a poor name of its own, the server's is used, for its extension.
            let path = if urls.len() == 1 && sum.is_none() { slot.join(came.name.unwrap_or_else(|| file.into())) } else { path };
            fs::rename(&part, &path).map_err(|e| disk(&path, &e))?;
            download::forget(&part)?;
            return Ok(Got { path, from: url.clone(), sha256, ours: true });
        }
    }
    Err(last.unwrap_or_else(|| Failure::other(format!("{file} came with the wrong sum twice; run the same command again"))))
}

/// The file in a folder that the user has, or the file itself; for some sets the folder itself will do.
fn at_hand(from: &Path, file: &str, url: &str, folder: bool, watch: Watch) -> Result<Got> {
    let name = from.display().to_string();
    let found = if from.is_file() {
        from.to_path_buf()
    } else if from.join(file).is_file() {
        from.join(file)
    } else if folder && from.is_dir() {
        return Ok(Got { path: from.to_path_buf(), from: name, sha256: String::new(), ours: false });
    } else if from.is_dir() {
        let mut there: Vec<String> = fs::read_dir(from)
            .map_err(|e| disk(from, &e))?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        there.sort();
        let more = if there.len() > 5 { ", …" } else { "" };
        there.truncate(5);
        let there = if there.is_empty() { "it is empty".into() } else { format!("it has {}{more}", there.join(", ")) };
        return Err(Failure::usage(format!("--from {name}: {file} is not in it ({there}); download it from {url}")));
    } else {
        return Err(Failure::usage(format!(
            "--from {name}: there is no such folder; download {file} from {url} and give its folder"
        )));
    };
    let sha256 = sum_of(&found, watch)?;
    Ok(Got { path: found, from: name, sha256, ours: false })
}

fn report(watch: Watch, step: Step, done: u64, total: Option<u64>) -> Result<()> {
    match watch(Progress { step, done, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            Err(Failure::Interrupted("stopped; what was downloaded is kept, and the same command goes on from there".into()))
        }
    }
}
