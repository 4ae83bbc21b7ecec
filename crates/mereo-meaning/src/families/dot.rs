//! Families as a picture.

use super::Family;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Graphviz text of families: latents as nodes with their labels, roots in boxes, edges with their weights. A latent or an edge of several
/// families is drawn once.
///
/// `label` says what to write on a latent; any text will do.
pub fn dot(families: &[Family], label: impl Fn(usize) -> String) -> String {
    let roots: BTreeSet<usize> = families.iter().map(|f| f.root).collect();
    let nodes: BTreeSet<usize> = roots.iter().copied().chain(families.iter().flat_map(|f| f.children.iter().copied())).collect();
    let edges: BTreeMap<(usize, usize), f64> =
        families.iter().flat_map(|f| &f.edges).map(|e| ((e.parent, e.child), e.weight)).collect();
    let mut out = String::from("digraph families {\n  rankdir=LR;\n  node [shape=ellipse];\n");
    // Writing to a string can't fail.
    for j in nodes {
        let shape = if roots.contains(&j) { ", shape=box" } else { "" };
        let _ = writeln!(out, "  n{j} [label=\"{}\"{shape}];", escaped(&label(j)));
    }
    for ((parent, child), weight) in edges {
        let _ = writeln!(out, "  n{parent} -> n{child} [label=\"{weight:.2}\"];");
    }
    out + "}\n"
}

/// A text within quotes: a backslash would start an escape, and lines end a statement in some readers.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            // Graphviz reads no NUL, and shows other control characters as boxes.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
