//! What comes to a tag once more: an image that it has, or one that it was refused just before. It makes no row, unless something is other
//! than it was.

use super::moves::Move;
use super::tag_rules::is_immutable;
use super::{Result, WriteTx};
use crate::model::{Hold, Outcome, Tag, now};

impl WriteTx {
    /// The tag's newest row, when it already says the same refusal: a schedule that tries every 15 minutes writes one row, not a hundred.
    pub(super) async fn same_refusal(
        &mut self,
        tag: &Tag,
        movement: &Move<'_>,
        outcome: Outcome,
    ) -> Result<Option<i64>> {
        // What an earlier hold kept back is not what the one in force ends with; and what is elsewhere now will come from there.
        let newest: Option<(i64, String, Option<String>, String)> = sqlx::query_as(
            "select sequence, case when outcome = 'held' and (reference <> $2 or exists (select 1 from holds h where h.tag_id = $1 \
             and h.ended_at is null and h.sequence > tag_events.sequence)) then '' else outcome end, digest, kind from tag_events \
             where tag_id = $1 order by number desc limit 1",
        )
        .bind(&tag.id)
        .bind(movement.reference)
        .fetch_optional(&mut **self)
        .await?;
        Ok(newest
            .filter(|(_, was, digest, kind)| {
                was == outcome.as_str() && digest.as_deref() == movement.image() && kind == movement.kind.as_str()
            })
            .map(|(sequence, ..)| sequence))
    }

    /// The tag points there already: what was asked for since is answered by that. Where the image comes from somewhere else now the tag
    /// has that reference, unless it has to stay as it is; gives the row of the ledger that says so.
    pub(super) async fn point_again(
        &mut self,
        tag: &Tag,
        movement: &Move<'_>,
        sequence: i64,
        hold: Option<&Hold>,
    ) -> Result<Option<i64>> {
        let is_elsewhere = tag.reference.as_deref() != Some(movement.reference);
        let may_change = movement.overrule || !is_immutable(tag)?;
        if let Some(hold) = hold.filter(|_| may_change)
            && (is_elsewhere || self.has_held_back(tag, hold).await?)
        {
            // Also what leads back to where the tag is: what waited before would not be its last word.
            self.write_move(tag, movement, Outcome::Held).await?;
        }
        self.fold_into(sequence, None).await?;
        let is_renewed = sqlx::query(
            "update tag_events set generation = coalesce(cast($2 as bigint), (select s.generation from streams s where s.id = $3)), \
             renewed_at = $4 where sequence = $1 and generation < coalesce(cast($2 as bigint), (select s.generation from streams s where s.id = $3))",
        )
        .bind(sequence)
        .bind(movement.generation)
        .bind(&tag.stream_id)
        .bind(now())
        .execute(&mut **self)
        .await?
        .rows_affected()
            > 0;
        let news = match is_elsewhere && may_change && hold.is_none() {
            true => Some(self.refer(tag, movement).await?),
            false => None,
        };
        if is_renewed || news.is_some() {
            self.clear_failure(tag, movement).await?;
        }
        Ok(news)
    }

    /// Notes on a row that the same was attempted once more, for what the tag should be by now.
    pub(super) async fn fold_into(&mut self, sequence: i64, generation: Option<i64>) -> Result<()> {
        sqlx::query(
            "update tag_events set repeats = repeats + 1, repeated_at = $2, \
             renewed_at = case when generation < $3 then $2 else renewed_at end, \
             generation = case when generation < $3 then $3 else generation end where sequence = $1",
        )
        .bind(sequence)
        .bind(now())
        .bind(generation.unwrap_or(0))
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}
