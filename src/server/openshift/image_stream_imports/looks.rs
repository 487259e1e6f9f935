//! Looking at images in other registries, with nothing kept: repository by repository, what is named by digest before what is named by
//! tag, and each thing once, however often one request asks for it.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout_at;

use super::super::images::{self, typed};
use super::super::import_status::import_status;
use super::super::kind::IMAGES;
use super::super::status::Status;
use super::asked::Wanted;
use super::failure;
use super::take::{Taken, Taking, at_digest, listed};
use crate::model::NewImage;
use crate::server::importer::{Fetched, ImportError, Selection};

/// How many repositories are asked side by side.
const REPOSITORIES: usize = 4;

/// What was found, by what was asked for and what of it is taken.
type Found = Vec<((String, Selection), Result<Fetched, Status>)>;

impl Taking<'_> {
    /// Looks at images, and tells in their order what there is.
    pub(super) async fn look_at_all(&self, wanted: &[&Wanted]) -> Result<Vec<Taken>, Status> {
        let mut repositories: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, one) in wanted.iter().enumerate() {
            repositories.entry(one.repository()).or_default().push(place);
        }
        let looks: Vec<_> = repositories.into_values().map(|places| self.look_at_repository(wanted, places)).collect();
        let looked: Vec<_> = stream::iter(looks).buffer_unordered(REPOSITORIES).try_collect().await?;
        let mut looked: Vec<_> = looked.into_iter().flatten().collect();
        looked.sort_by_key(|(place, _)| *place);
        Ok(looked.into_iter().map(|(_, taken)| taken).collect())
    }

    /// Looks at images of one repository, one after the other.
    async fn look_at_repository(
        &self,
        wanted: &[&Wanted],
        mut places: Vec<usize>,
    ) -> Result<Vec<(usize, Taken)>, Status> {
        places.sort_by_key(|place| wanted[*place].parsed.id.is_empty());
        let (mut found, mut looked) = (Found::new(), Vec::with_capacity(places.len()));
        for place in places {
            let one = wanted[place];
            let asked = (one.parsed.canonical().exact(), self.selection(one).await?);
            let index = match found.iter().position(|(known, _)| *known == asked) {
                Some(index) => index,
                None => {
                    let answer = self.ask(one, &asked.1).await?;
                    found.push((asked, answer));
                    found.len() - 1
                }
            };
            let taken = match &found[index].1 {
                Ok(fetched) => self.told_of_found(one, fetched),
                Err(status) => failure(one, status),
            };
            looked.push((place, taken));
        }
        Ok(looked)
    }

    /// What the reference means now, or why it means nothing.
    async fn ask(&self, one: &Wanted, selection: &Selection) -> Result<Result<Fetched, Status>, Status> {
        let importer = &self.door.importer;
        let look = importer.look(self.target.project, &one.reference, one.spec.insecure, selection);
        match timeout_at(self.until, look).await.unwrap_or(Err(ImportError::Late)) {
            Ok(fetched) => Ok(Ok(fetched)),
            Err(ImportError::Store(error)) => Err(error.into()),
            Err(error) => Ok(Err(refusal(&one.reference, &error))),
        }
    }

    fn told_of_found(&self, one: &Wanted, found: &Fetched) -> Taken {
        let reference = format!("{}@{}", one.parsed.as_repository().exact(), found.image.digest);
        let shown = |image: &NewImage| {
            let reference = at_digest(&reference, &image.digest);
            match self.has_room(&image.manifest, image.config.as_deref()) {
                true => one.shown(images::fetched(image, &reference), &image.manifest, image.config.as_deref()),
                false => typed(&IMAGES, images::bare(&image.digest, &reference)),
            }
        };
        let below: BTreeMap<&str, &NewImage> = found.children.iter().map(|it| (it.digest.as_str(), it)).collect();
        let manifests = listed(&found.image.children).filter_map(|digest| below.get(digest).copied());
        Taken::of(one, shown(&found.image), manifests.map(shown).collect())
    }

    /// What of an index would be taken, by what the stream and the tag say if they are there.
    async fn selection(&self, one: &Wanted) -> Result<Selection, Status> {
        let (store, name) = (&self.door.store, self.target.stream.as_str());
        let Some(stream) = store.find_stream(self.target.project, name).await? else {
            return Ok(Selection::of_mode(&one.spec.import_mode));
        };
        let tag = match &one.tag {
            Some(tag) => store.find_tag(self.target.project, name, tag.as_str()).await?,
            None => None,
        };
        let selection = tag.map_or_else(|| Selection::of_stream(&stream), |tag| Selection::of(&stream, &tag));
        Ok(selection.in_mode(&one.spec.import_mode))
    }
}

/// Why another registry gave nothing.
pub(super) fn refusal(reference: &str, error: &ImportError) -> Status {
    import_status(reference, error.reason(), &error.to_string())
}
