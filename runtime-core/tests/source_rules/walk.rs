//! Walks one file's syntax and notes what breaks a rule.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, TraitItem, UseTree};

use crate::{
    EMPTY_WORDS, FILE_LINES, FUNCTION_LINES, Finding, LEVELS, Rule, Source, UNSAFE_PLACES,
};

/// Walks a file with the knowledge of where it is and whether that is test code.
pub(crate) struct Walk<'a> {
    source: &'a Source,
    lines: Vec<&'a str>,
    modules: Vec<String>,
    test: bool,
    test_lines: usize,
    /// First line of the innermost statement around.
    statement: Option<usize>,
    findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        let mut walk = Walk {
            source,
            lines: source.text.lines().collect(),
            modules: module_path(&source.path),
            test: source.test,
            test_lines: 0,
            statement: None,
            findings: Vec::new(),
        };
        for part in source.path.split('/') {
            walk.name(part.trim_end_matches(".rs"), 1);
        }
        walk
    }

    /// What was found, once the whole file is seen.
    pub(crate) fn end(mut self) -> Vec<Finding> {
        let length = self.lines.len() - self.test_lines;
        if !self.source.test && length > FILE_LINES {
            self.add(Rule::FileLength, 1, format!("{length} lines without tests"));
        }
        self.findings
    }

    fn add(&mut self, rule: Rule, line: usize, text: String) {
        self.findings.push(Finding { rule, line, text });
    }

    fn name(&mut self, name: &str, line: usize) {
        for word in words(name) {
            let single = word.strip_suffix('s').unwrap_or(&word);
            if EMPTY_WORDS.contains(&single) {
                self.add(Rule::Name, line, format!("the name {name} says nothing"));
            }
        }
    }

    /// A path that starts in the crate's root or in a module around this one.
    fn import(&mut self, path: &[String], line: usize) {
        if self.test || !self.source.is_library() {
            return;
        }
        let Some(own) = self.modules.first().cloned() else {
            return;
        };
        let supers = path.iter().take_while(|part| *part == "super").count();
        let target = match path.first().map(String::as_str) {
            Some("crate") => path.get(1),
            Some("super") if supers == self.modules.len() => path.get(supers),
            _ => return,
        };
        let Some(target) = target.filter(|target| **target != own) else {
            return;
        };
        match (level(&own), level(target)) {
            (None, _) => self.add(Rule::Level, line, format!("module {own} has no level")),
            (_, None) => self.add(
                Rule::Level,
                line,
                format!("{target} is imported through the crate's root, not from its module"),
            ),
            (Some(from), Some(to)) if to >= from => self.add(
                Rule::Level,
                line,
                format!("{own} (level {from}) imports {target} (level {to})"),
            ),
            _ => {}
        }
    }

    fn function(&mut self, name: &syn::Ident, whole: Span, start: Span) {
        self.name(&name.to_string(), start.start().line);
        let length = whole.end().line - start.start().line + 1;
        if !self.test && length > FUNCTION_LINES {
            self.add(
                Rule::FunctionLength,
                start.start().line,
                format!("{name} has {length} lines"),
            );
        }
    }

    fn unsafety(&mut self, span: Span) {
        self.unsafe_place(span);
        let line = span.start().line;
        let statement = self.statement.unwrap_or(line);
        if ![line, statement].iter().any(|line| reason_above(&self.lines, *line)) {
            self.add(Rule::UnsafeReason, line, "unsafe has no SAFETY comment".to_owned());
        }
    }

    fn unsafe_place(&mut self, span: Span) {
        let line = span.start().line;
        if !UNSAFE_PLACES.iter().any(|(place, _)| self.source.path.starts_with(place)) {
            self.add(Rule::UnsafePlace, line, "unsafe stands outside its places".to_owned());
        }
    }

    fn panic(&mut self, what: &str, span: Span) {
        let strict = self.source.is_library() || self.source.path.starts_with("runtime-core/init/");
        if strict && !self.test {
            self.add(Rule::Panic, span.start().line, format!("{what} can panic"));
        }
    }

    /// Macros hold tokens, not syntax: look for what the rules can see in those.
    fn tokens(&mut self, tokens: TokenStream) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, tree) in trees.iter().enumerate() {
            match tree {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) if ident == "unsafe" => {
                    let block = matches!(trees.get(at + 1), Some(TokenTree::Group(_)));
                    if block || trees.get(at + 1).is_some_and(|next| next.to_string() == "impl") {
                        self.unsafety(ident.span());
                    }
                }
                TokenTree::Ident(ident) if ident == "crate" || ident == "super" => {
                    let path: Vec<String> = trees[at..]
                        .iter()
                        .filter(|tree| !matches!(tree, TokenTree::Punct(p) if p.as_char() == ':'))
                        .map_while(|tree| match tree {
                            TokenTree::Ident(ident) => Some(ident.to_string()),
                            _ => None,
                        })
                        .collect();
                    let follows = at >= 3 && trees[at - 3].to_string() == "super";
                    if !follows && path.len() > 1 {
                        self.import(&path, ident.span().start().line);
                    }
                }
                TokenTree::Ident(ident) if ident == "unwrap" || ident == "expect" => {
                    let method = at > 0 && trees[at - 1].to_string() == ".";
                    if method {
                        self.panic(&ident.to_string(), ident.span());
                    }
                }
                _ => {}
            }
        }
    }

    /// Visits something whose attributes may say that it is test code.
    fn inside(&mut self, attributes: &[Attribute], span: Span, visit: impl FnOnce(&mut Self)) {
        let outer = self.test;
        if !outer && attributes.iter().any(is_test) {
            self.test = true;
            self.test_lines += span.end().line - span.start().line + 1;
        }
        visit(self);
        self.test = outer;
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        self.inside(item_attributes(item), item.span(), |walk| {
            visit::visit_item(walk, item);
        });
    }

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        let outer = self.statement.replace(statement.span().start().line);
        visit::visit_stmt(self, statement);
        self.statement = outer;
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = if let ImplItem::Fn(function) = item { &function.attrs[..] } else { &[] };
        self.inside(attributes, item.span(), |walk| {
            visit::visit_impl_item(walk, item);
        });
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.name(&module.ident.to_string(), module.span().start().line);
        self.modules.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.modules.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, item.span(), item.sig.span());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, item.span(), item.sig.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        if let TraitItem::Fn(function) = item {
            self.function(&function.sig.ident, item.span(), function.sig.span());
        }
        visit::visit_trait_item(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.name(&item.ident.to_string(), item.ident.span().start().line);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.name(&item.ident.to_string(), item.ident.span().start().line);
        visit::visit_item_enum(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(word) = signature.unsafety {
            self.unsafety(word.span());
        }
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(word) = item.unsafety {
            self.unsafety(word.span());
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        if let Some(word) = item.unsafety {
            self.unsafety(word.span());
        }
        visit::visit_item_foreign_mod(self, item);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafety(block.unsafe_token.span());
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("unsafe") {
            self.unsafe_place(attribute.span());
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for path in use_paths(&item.tree) {
            self.import(&path, item.span().start().line);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1 {
            self.import(&parts, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "unwrap" || call.method == "expect" {
            self.panic(&call.method.to_string(), call.method.span());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        if ["panic", "todo", "unimplemented", "unreachable"].contains(&name.as_str()) {
            self.panic(&name, call.span());
        }
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// `cgroup_util` and `CgroupUtil` are the words `cgroup` and `util`.
fn words(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() {
            spaced.push(' ');
        }
        spaced.extend(letter.to_lowercase());
    }
    spaced.split([' ', '_', '-', '.']).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn use_paths(tree: &UseTree) -> Vec<Vec<String>> {
    match tree {
        UseTree::Path(path) => use_paths(&path.tree)
            .into_iter()
            .map(|rest| std::iter::once(path.ident.to_string()).chain(rest).collect())
            .collect(),
        UseTree::Group(group) => group.items.iter().flat_map(use_paths).collect(),
        UseTree::Name(name) => vec![vec![name.ident.to_string()]],
        UseTree::Rename(name) => vec![vec![name.ident.to_string()]],
        UseTree::Glob(_) => vec![vec!["*".to_owned()]],
    }
}

/// `#[test]`, and `#[cfg(…)]` that asks for a test build.
fn is_test(attribute: &Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    attribute.path().is_ident("cfg") && asks_for_test(list.tokens.clone())
}

/// Whether a condition holds in test builds only: `test`, or `all` of several with it.
fn asks_for_test(condition: TokenStream) -> bool {
    let trees: Vec<TokenTree> = condition.into_iter().collect();
    trees.iter().enumerate().any(|(at, tree)| match tree {
        TokenTree::Ident(ident) => ident == "test",
        TokenTree::Group(group) => {
            at > 0 && trees[at - 1].to_string() == "all" && asks_for_test(group.stream())
        }
        _ => false,
    })
}

fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether the statement or item that has `unsafe` in this line (counted from 1) follows a
/// `SAFETY:` comment or a `# Safety` section of its documentation.
fn reason_above(lines: &[&str], line: usize) -> bool {
    for (distance, text) in lines[..line].iter().rev().take(25).enumerate() {
        let text = text.trim();
        if text.contains("// SAFETY:") || text.starts_with("/// # Safety") {
            return true;
        }
        let note = text.starts_with("//") || text.starts_with("#[");
        if distance > 0 && !note && (text.is_empty() || text.ends_with([';', '{', '}'])) {
            return false;
        }
    }
    false
}

/// `runtime-core/src/cgroup/v2.rs` is the module `cgroup::v2`.
fn module_path(path: &str) -> Vec<String> {
    let inside = path.split_once("/src/").map_or(path, |(_, inside)| inside);
    let mut parts: Vec<String> =
        inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|modules| modules.contains(&module))
}
