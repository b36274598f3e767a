//! [`RequestHead`]: all that a layer looks at of a request.

use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri, Version};

/// The head of a request, for those who decide by it.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    pub(super) method: &'a Method,
    pub(super) target: Target<'a>,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
    pub(super) extensions: &'a Extensions,
    /// What a `Uri` cannot hold.
    pub(super) fragment: Option<&'a str>,
    /// Bytes of the body, where it is known besides its headers.
    pub(super) length: Option<u64>,
}

/// Where a request goes to.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// There.
    Whole(&'a Uri),
    /// There, unless the request's extensions know better: a nested axum router is shown only its
    /// own part of the path. Looked up where it is asked for, which most decisions do not.
    Shown(&'a Uri),
}

impl<'a> RequestHead<'a> {
    pub(super) fn incoming<B>(request: &'a Request<B>) -> Self {
        Self { target: Target::Shown(request.uri()), ..Self::outgoing(request) }
    }

    pub(super) fn outgoing<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            target: Target::Whole(request.uri()),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
            fragment: None,
            length: None,
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The target; of a request to an axum `Router` that is nested in another, the whole one.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        match self.target {
            Target::Whole(uri) => uri,
            #[cfg(feature = "axum")]
            Target::Shown(uri) => {
                self.extensions.get::<axum::extract::OriginalUri>().map_or(uri, |whole| whole)
            }
            #[cfg(not(feature = "axum"))]
            Target::Shown(uri) => uri,
        }
    }

    /// The version of HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The headers; of a gRPC call, its metadata.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// What others have put to the request: `ConnectInfo`, the certificate of the peer, and so on.
    /// Of a request of reqwest's there are none.
    #[must_use]
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}

impl fmt::Debug for RequestHead<'_> {
    /// Without the headers, the query and the extensions, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .field("path", &self.uri().path())
            .finish_non_exhaustive()
    }
}
