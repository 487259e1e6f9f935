//! The pages and REST lists that are measured.

use weir::model::{now, rfc3339};

use super::seed::{Size, image};

/// The lists that grow: what they are called, where they are, and how many rows are behind them.
pub type List = (&'static str, &'static str, fn(Size) -> usize);
pub const LISTS: &[List] = &[
    ("overview", "/p/{project}", |size| size.streams),
    ("streams", "/p/{project}/streams", |size| size.streams),
    ("streams by health", "/p/{project}/streams?health=failing", |size| size.streams),
    ("streams, some text", "/p/{project}/streams?q=tream-00", |size| size.streams),
    ("streams as of now", "/p/{project}/streams?as_of={now}", |size| size.streams),
    ("graph", "/p/{project}/graph", |size| size.streams),
    ("activity", "/p/{project}/activity", |size| size.moves),
    ("cascades", "/p/{project}/cascades", |size| size.moves),
    ("search", "/search?q=stream-00", |size| size.streams),
    ("stream, newest tags", "/p/{project}/streams/many", |size| size.tags),
    ("stream, by version", "/p/{project}/streams/many/tags?sort=semver", |size| size.tags),
    ("stream, by size", "/p/{project}/streams/many/tags?sort=size", |size| size.tags),
    ("stream, some text", "/p/{project}/streams/many/tags?q=v00", |size| size.tags),
    ("stream as of now", "/p/{project}/streams/many/tags?as_of={now}", |size| size.tags),
    ("stream, history of all its tags", "/p/{project}/streams/many/history", |size| size.tags),
    ("stream, settings", "/p/{project}/streams/many/settings", |size| size.tags),
    ("tag", "/p/{project}/streams/moved/tags/latest", |size| size.moves),
    ("tag as of now", "/p/{project}/streams/moved/tags/latest?as_of={now}", |size| size.moves),
    ("stream, imports", "/p/{project}/streams/many/imports", |size| size.tags),
    ("stream, used by", "/p/{project}/streams/stream-0000/used-by", |size| size.streams),
    ("stream, deleted tags", "/p/{project}/streams/many/deleted-tags", |size| size.tags),
    ("image", "/p/{project}/streams/many/images/{image}", |size| size.tags),
    ("image, packages", "/p/{project}/streams/many/images/{image}/packages", |size| size.tags),
    ("image of many moves", "/p/{project}/streams/moved/images/{image}", |size| size.moves),
    ("image of many moves as of now", "/p/{project}/streams/moved/images/{image}?as_of={now}", |size| size.moves),
    ("imports", "/p/{project}/imports", |size| size.streams),
    ("builds", "/p/{project}/builds", |size| size.streams),
    ("apps", "/p/{project}/apps", |size| size.streams),
    ("REST: streams", "/apis/image.openshift.io/v1/namespaces/{project}/imagestreams?limit=50", |size| size.streams),
    ("REST: tags", "/apis/image.openshift.io/v1/namespaces/{project}/imagestreamtags?limit=50", |size| size.tags),
    ("REST: history", "/weir/v1/projects/{project}/streams/moved/tags/latest/history", |size| size.moves),
    ("REST: image tags", "/apis/image.openshift.io/v1/namespaces/{project}/imagetags?limit=50", |size| size.tags),
    ("REST: activity", "/weir/v1/projects/{project}/activity", |size| size.moves),
    ("REST: cascades", "/weir/v1/projects/{project}/cascades", |size| size.moves),
    ("REST: history as of now", "/weir/v1/projects/{project}/streams/moved/tags/latest/history?as_of={now}", |size| {
        size.moves
    }),
    ("REST: search", "/weir/v1/projects/{project}/search?q=stream-00", |size| size.streams),
    ("tags, first page", "/p/{project}/streams/many/tags", |size| size.tags),
    ("tags, half-way", "/p/{project}/streams/many/tags?n=200", |size| size.tags),
    ("history of a tag, first page", "/p/{project}/streams/moved/tags/latest/history", |size| size.moves),
    ("history of a tag, half-way", "/p/{project}/streams/moved/tags/latest/history?n=200", |size| size.moves),
];

/// What grows because what is asked for does: OpenShift's stream is one object with all of its tags.
pub const WHOLE: List =
    ("REST: one stream", "/apis/image.openshift.io/v1/namespaces/{project}/imagestreams/many", |size| size.tags);

/// A list's address in a project. As of now is two seconds ago: later than everything that was laid out.
pub fn address(path: &str, size: Size) -> anyhow::Result<String> {
    let path = path.replace("{project}", size.project).replace("{now}", &rfc3339(now() - 2_000));
    Ok(match path.contains("{image}") {
        true => path.replace("{image}", &image(size.tags / 2)?.digest),
        false => path,
    })
}
