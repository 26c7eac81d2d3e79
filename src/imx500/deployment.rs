//! A network as a camera takes it: what its package says, in memory of its own, and what turns its tensors into results.

use std::fmt;
use std::path::{Path, PathBuf};

use super::decode::{BuiltIn, DecodeError, NoPost, PostName, PostProcess, PostSettings, Target, choose};
use super::intrinsics::{Intrinsics, IntrinsicsError};
use super::network::NetworkDescription;
use super::package::{Normalisation, Package, PlaneOrder};
use super::parser::Parser;
use super::tensor::OutputView;
use super::{LINE_BYTES, Layout, ParseError, REGISTER_BYTES_MAX};
use crate::labels::Labels;

/// A package and its post-processing. `Network::open` reads one from a file, [`Network::new`] from bytes.
///
/// The post-processing is the one that the package asks for, until [`post`](Self::post) names a built-in one or
/// [`post_process`](Self::post_process) brings another. A network without one still runs and its metadata can be recorded.
pub struct Network {
    name: String,
    path: Option<PathBuf>,
    params: Vec<u8>,
    description: NetworkDescription,
    lines: (u16, u16),
    buffer_bytes: usize,
    normalisation: Normalisation,
    info: String,
    intrinsics: Box<Intrinsics>,
    labels: Box<Labels>,
    settings: PostSettings,
    post: Post,
}

enum Post {
    BuiltIn(Box<BuiltIn>),
    Own(Box<dyn PostProcess>),
    None(NoPost),
}

impl Network {
    /// Takes what it needs from a package. `name` is for people and recordings, e.g. the file's.
    ///
    /// # Errors
    /// The package's intrinsics cannot be read. That it asks for no known post-processing is no error here:
    /// [`no_post`](Self::no_post).
    pub fn new(name: &str, package: &Package<'_>) -> Result<Self, IntrinsicsError> {
        let intrinsics = Box::new(package.intrinsics.map_or(Ok(Intrinsics::default()), Intrinsics::parse)?);
        let description = package.network.clone();
        let post = Post::chosen(choose(&description, &intrinsics, None, PostSettings::default()));
        let mut network = Self {
            name: name.to_string(),
            path: None,
            params: package.params.to_vec(),
            description,
            lines: (package.input_lines, package.output_lines),
            buffer_bytes: package.buffer_bytes(),
            normalisation: package.normalisation,
            info: package.info.to_string(),
            intrinsics,
            labels: Box::default(),
            settings: PostSettings::default(),
            post,
        };
        network.name_classes();
        Ok(network)
    }

    /// A network of which only apParams are known, as they stand in the headers of recorded metadata, or as a simulation makes
    /// them. Planes are taken for red, green, blue; the post-processing is the one that the tensors' shapes tell.
    ///
    /// # Errors
    /// The apParams are damaged.
    pub fn described(name: &str, params: &[u8]) -> Result<Self, ParseError> {
        let id = 0;
        let description = NetworkDescription::parse(params, id)?;
        let intrinsics = Box::new(Intrinsics::default());
        let post = Post::chosen(choose(&description, &intrinsics, None, PostSettings::default()));
        let output_lines = 1 + description.outputs.iter().map(|tensor| tensor.lines(LINE_BYTES)).sum::<usize>();
        let input_lines = description.output_line(LINE_BYTES) - 1;
        let norm_val = if description.input.signed { -2048 } else { 0 };
        Ok(Self {
            name: name.to_string(),
            path: None,
            params: params.to_vec(),
            lines: (u16::try_from(input_lines).unwrap_or(u16::MAX), u16::try_from(output_lines).unwrap_or(u16::MAX)),
            buffer_bytes: REGISTER_BYTES_MAX + LINE_BYTES * (2 + input_lines + output_lines),
            normalisation: Normalisation {
                order: PlaneOrder::Rgb,
                norm_val: [norm_val; 3],
                div_val: [0x0400; 3],
                signed: description.input.signed,
            },
            description,
            info: String::new(),
            intrinsics,
            labels: Box::default(),
            settings: PostSettings::default(),
            post,
        })
    }

    /// Tells where the package lies; the camera's driver reads it from there.
    #[must_use]
    pub fn with_path(mut self, path: PathBuf) -> Self {
        self.path = Some(path);
        self
    }

    /// Takes the built-in post-processing `name`, whatever the package says, with the settings given so far.
    ///
    /// # Errors
    /// It takes other tensors than this network has.
    pub fn post(mut self, name: PostName) -> Result<Self, NoPost> {
        let chosen = choose(&self.description, &self.intrinsics, Some(name), self.settings)?;
        self.post = Post::chosen(Ok(chosen));
        self.name_classes();
        Ok(self)
    }

    /// Sets threshold and top-k of a built-in post-processing, chosen or still to be named.
    #[must_use]
    pub fn settings(mut self, settings: PostSettings) -> Self {
        self.settings = settings;
        if let Post::BuiltIn(post) = &mut self.post {
            post.set(settings);
        }
        self
    }

    /// Takes a post-processing of the caller's own.
    #[must_use]
    pub fn post_process(mut self, post: impl PostProcess + 'static) -> Self {
        self.post = Post::Own(Box::new(post));
        self
    }

    /// Takes these labels in place of the package's.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        *self.labels = labels;
        self
    }

    /// Labels by the class numbers of results.
    fn name_classes(&mut self) {
        let classes = match &self.post {
            Post::BuiltIn(post) if matches!(**post, BuiltIn::Classify(_)) => {
                Some(self.description.outputs[0].elements())
            }
            _ => None,
        };
        *self.labels = self.intrinsics.class_labels(classes);
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the package lies, if it is a file.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// apParams as they come over the wire.
    pub fn params(&self) -> &[u8] {
        &self.params
    }

    /// Its tensors.
    pub const fn description(&self) -> &NetworkDescription {
        &self.description
    }

    /// Lines of the input tensor, its header included (register 0x305E).
    pub const fn input_lines(&self) -> u16 {
        self.lines.0
    }

    /// Lines of the output tensors, their header included (register 0x3060).
    pub const fn output_lines(&self) -> u16 {
        self.lines.1
    }

    /// Bytes of one metadata buffer, as the driver computes it.
    pub const fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// How the input tensor was made.
    pub const fn normalisation(&self) -> Normalisation {
        self.normalisation
    }

    /// `network_info.txt`.
    pub fn info(&self) -> &str {
        &self.info
    }

    /// What the package says of itself.
    pub const fn intrinsics(&self) -> &Intrinsics {
        &self.intrinsics
    }

    /// Names by the class numbers of results.
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Name of the post-processing: one of [`PostName`], `own`, or `None` when there is none.
    pub fn post_name(&self) -> Option<&'static str> {
        match &self.post {
            Post::BuiltIn(post) => Some(post.name()),
            Post::Own(_) => Some("own"),
            Post::None(_) => None,
        }
    }

    /// The post-processing, if it is a built-in one.
    pub fn built_in(&self) -> Option<&BuiltIn> {
        match &self.post {
            Post::BuiltIn(post) => Some(post),
            Post::Own(_) | Post::None(_) => None,
        }
    }

    /// The built-in post-processing that the package or its tensors ask for, whichever is in force.
    ///
    /// # Errors
    /// There is none.
    pub fn packaged_post(&self) -> Result<BuiltIn, NoPost> {
        choose(&self.description, &self.intrinsics, None, self.settings)
    }

    /// Why there is no post-processing, if there is none.
    pub const fn no_post(&self) -> Option<&NoPost> {
        match &self.post {
            Post::None(why) => Some(why),
            _ => None,
        }
    }

    /// Bytes of side plane that a frame's results need.
    pub fn side_bytes(&self) -> usize {
        self.processor().map_or(0, |post| post.side_bytes(&self.description))
    }

    /// Bytes that the post-processing itself holds, made before the first frame.
    pub fn post_bytes(&self) -> usize {
        self.processor().map_or(0, size_of_val)
    }

    /// A parser of this network's metadata that expects its lines.
    pub const fn parser(&self, layout: Layout) -> Parser {
        let mut parser = Parser::new(layout);
        parser.expect_input_lines(self.lines.0);
        parser
    }

    /// Turns the tensors of one buffer into results; without a post-processing the results are absent. Does not allocate
    /// (a post-processing of the caller's own is held to it by its trait's contract).
    ///
    /// # Errors
    /// The tensors are not this network's.
    pub fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        match &mut self.post {
            Post::BuiltIn(post) => post.decode(output, target),
            Post::Own(post) => post.decode(output, target),
            Post::None(_) => BuiltIn::None.decode(output, target),
        }
    }

    fn processor(&self) -> Option<&dyn PostProcess> {
        match &self.post {
            Post::BuiltIn(post) => Some(&**post),
            Post::Own(post) => Some(&**post),
            Post::None(_) => None,
        }
    }
}

impl Post {
    fn chosen(choice: Result<BuiltIn, NoPost>) -> Self {
        choice.map_or_else(Self::None, |post| Self::BuiltIn(Box::new(post)))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Network");
        shown.field("name", &self.name).field("path", &self.path).field("post", &self.post_name());
        shown.field("description", &self.description).finish_non_exhaustive()
    }
}
