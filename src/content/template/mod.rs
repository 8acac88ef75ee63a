//! Templates: minijinja, strict. They see the configuration and nothing else: no environment, no files but the other
//! templates that they name, below their own directory and read when they are loaded.

mod failure;
mod filters;
mod references;

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value as Rendered;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::Value;

use crate::content::file;
use crate::content::{LoadError, parse};

/// Work of one rendering, in the engine's unit: about an instruction or 64 bytes of data.
const FUEL: u64 = 4_000_000;
/// Bytes of one rendering.
const OUTPUT: usize = 16 * 1024 * 1024;
/// Levels of loops, macros (each counts several) and includes (likewise): fits the stack of a worker thread.
const RECURSION: usize = 150;
/// Stack of one rendering; only what is used takes memory. A template that puts a value into itself in a loop makes one
/// as deep as the loop is long, and the engine drops it, compares it and makes text of it by recursion, which takes up to
/// 400 bytes a level: this is enough for half a million levels, more than the work that is allowed makes one by one.
const STACK: usize = 256 * 1024 * 1024;
/// Templates that one template names, and those in turn name.
const TEMPLATES: usize = 256;

/// A template with all the templates that it names, compiled.
pub(super) struct Template {
    name: String,
    environment: Environment<'static>,
}

impl Template {
    /// Loads `file` and what it names, relative to `file`'s directory. Every file read is added to `read`.
    pub(super) fn load(
        what: &str,
        file: &Path,
        read: &mut BTreeMap<PathBuf, Vec<u8>>,
    ) -> Result<Template, Vec<LoadError>> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mut loading = Loading {
            what,
            directory: file.parent().unwrap_or(Path::new("/")),
            environment: environment(),
            loaded: BTreeMap::new(),
            read,
            errors: Vec::new(),
        };
        loading.add(&name, file);
        if !loading.errors.is_empty() {
            return Err(loading.errors);
        }
        let environment = loading.environment;
        let name = name.into_owned();
        Ok(Template { name, environment })
    }

    /// The rendering's bytes, or what is wrong, without any value.
    pub(super) fn render(
        &self,
        config: Option<&Value>,
        profiles: &[(&str, Option<&Value>)],
    ) -> Result<Vec<u8>, String> {
        let none = Rendered::from(());
        let profiles: BTreeMap<&str, Rendered> = profiles
            .iter()
            .map(|(name, value)| (*name, value.map_or(none.clone(), filters::value)))
            .collect();
        let mut context = BTreeMap::from([("profiles", Rendered::from(profiles))]);
        if let Some(config) = config {
            context.insert("config", filters::value(config));
        }
        let context = Rendered::from(context);
        with_room(&|| {
            let rendered = self.environment.get_template(&self.name);
            let rendered = rendered.and_then(|template| {
                let mut output = Output(Vec::new());
                template.render_captured_to(context.clone(), &mut output)?;
                Ok(output.0)
            });
            // Here, for a failure holds the values that were at hand.
            rendered.map_err(|failure| failure::describe(&failure, config.is_some()))
        })
    }
}

/// Runs `render` on a thread with room for deep values; here where such a thread cannot be had.
fn with_room<T: Send>(render: &(impl Fn() -> T + Sync)) -> T {
    let rendered = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("render".to_owned())
            .stack_size(STACK);
        thread.spawn_scoped(scope, render).ok()?.join().ok()
    });
    rendered.unwrap_or_else(render)
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    // the failing expression is known only so; costs nothing until something fails
    environment.set_debug(true);
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    // it prints the whole state, which is never what a file should hold
    environment.remove_global("debug");
    filters::add(&mut environment);
    environment
}

struct Loading<'a> {
    what: &'a str,
    directory: &'a Path,
    environment: Environment<'static>,
    loaded: BTreeMap<String, ()>,
    read: &'a mut BTreeMap<PathBuf, Vec<u8>>,
    errors: Vec<LoadError>,
}

impl Loading<'_> {
    fn add(&mut self, name: &str, file: &Path) {
        let mut waiting = vec![(name.to_owned(), file.to_owned(), None)];
        while let Some((name, file, origin)) = waiting.pop() {
            if self.loaded.insert(name.clone(), ()).is_some() {
                continue;
            }
            let source = match self.source(&file) {
                Ok(source) => source,
                Err((at, message)) => {
                    match origin {
                        Some((_, _, true)) if !file.exists() => {}
                        Some((by, line, _)) => {
                            let message = format!("cannot load `{}`: {message}", file.display());
                            self.error(by, Some((line, 1)), message);
                        }
                        None => self.error(file, at, message),
                    }
                    continue;
                }
            };
            for reference in references::references(&source) {
                match self.below(&reference.name) {
                    Some(_) if self.loaded.len() + waiting.len() > TEMPLATES => {
                        let message = format!("more than {TEMPLATES} templates");
                        return self.error(file, Some((reference.line, 1)), message);
                    }
                    Some(path) => {
                        let origin = (file.clone(), reference.line, reference.optional);
                        waiting.push((reference.name, path, Some(origin)));
                    }
                    None => {
                        let message = format!(
                            "`{}` is not a path below the template's directory",
                            reference.name
                        );
                        self.error(file.clone(), Some((reference.line, 1)), message);
                    }
                }
            }
            if let Err(failure) = self.environment.add_template_owned(name, source.clone()) {
                let detail = failure.detail().unwrap_or("syntax error").to_owned();
                let line = failure.line().unwrap_or(1);
                let at = match failure.range() {
                    Some(range) => parse::position(source.as_bytes(), range.start),
                    None => (line, 1),
                };
                self.error(file, Some(at), detail);
            }
        }
    }

    fn source(&mut self, path: &Path) -> Result<String, super::schema::Fault> {
        let bytes = file::read(path).map_err(|message| (None, message))?;
        self.read.insert(path.to_owned(), bytes.clone());
        match parse::text(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(broken) => Err((broken.at, broken.reason.into_owned())),
        }
    }

    /// Where the template of this name lies, if that is below the directory.
    fn below(&self, name: &str) -> Option<PathBuf> {
        let sound = !name.is_empty()
            && !name.contains('\0')
            && Path::new(name)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
        sound.then(|| self.directory.join(name))
    }

    fn error(&mut self, file: PathBuf, at: Option<(usize, usize)>, message: String) {
        let what = self.what.to_owned();
        self.errors.push(LoadError {
            what,
            file,
            at,
            message,
        });
    }
}

/// A buffer that does not grow beyond what a file may have.
struct Output(Vec<u8>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
