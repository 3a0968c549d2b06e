// SPDX-License-Identifier: GPL-2.0

//! Fragments: which file maps which pages of a home.
//!
//! A [`Fragment`] says "this file maps these device pages here". To a home it is what a VMA is to
//! a file: the reverse map, from a page of the device to the slots of files that may hold an alias
//! to it. It costs O(extents) memory, not O(pages), because a whole extent gets one fragment when
//! the first page of it is read.
//!
//! A fragment promises nothing: a slot in it may hold anything. What [`Fragments`] promises is the
//! other direction, that every alias lies in a fragment that maps its slot to its page. That is
//! why fragments are added before the alias and taken away only where there is none, both under
//! the lock that [`Fragments`] is in.
//!
//! C header: [`include/linux/interval_tree.h`](srctree/include/linux/interval_tree.h)

use crate::{
    alloc::Flags,
    bindings, container_of,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    types::Opaque,
};

/// A file, by the address of its `struct address_space`.
pub(super) type FileKey = usize;

/// Page indices, in a file or on a device.
pub(super) type Index = usize;

/// Files' fragments do not overlap, so that these two name one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    file: FileKey,
    first: Index,
}

/// "This file maps these pages of the device here."
///
/// # Invariants
///
/// While the fragment is in a [`Fragments`], `node` is in its interval tree, `node.start` is the
/// device page of the first index, and `node.last - node.start` is one less than its length.
struct Fragment {
    /// The device pages, first and last.
    node: Opaque<bindings::interval_tree_node>,
    /// [`Key`] of the tree node that this is the value of: what the interval tree leads back to.
    key: Key,
}

// SAFETY: A fragment is reached through the `Fragments` it is in only, and that is behind a lock.
unsafe impl Send for Fragment {}

impl Fragment {
    fn new(key: Key, home: Index, len: usize) -> Self {
        Self {
            node: Opaque::new(bindings::interval_tree_node {
                start: home,
                last: home + (len - 1),
                ..Default::default()
            }),
            key,
        }
    }

    fn home_first(&self) -> Index {
        // SAFETY: We have a reference to the fragment; the interval tree does not write `start`.
        unsafe { (*self.node.get()).start }
    }

    /// Last index in the file, inclusive.
    fn last(&self) -> Index {
        // SAFETY: As above.
        self.key.first + (unsafe { (*self.node.get()).last } - self.home_first())
    }

    /// Where the device page of `index` would be if the fragment reached that far.
    fn home_of(&self, index: Index) -> Index {
        self.home_first()
            .wrapping_add(index.wrapping_sub(self.key.first))
    }
}

/// A run of pages of a file that somebody wants covered.
///
/// `first <= index <= last`, all of it one extent: index `i` of the file is page
/// `home + (i - index)` of the device.
pub(super) struct Run {
    pub(super) file: FileKey,
    pub(super) index: Index,
    pub(super) home: Index,
    pub(super) first: Index,
    pub(super) last: Index,
}

/// Slots of a file, from `first` to `last`, inclusive, that are in one fragment.
pub(super) struct Slots {
    pub(super) file: FileKey,
    pub(super) first: Index,
    pub(super) last: Index,
    /// The device page of the first.
    pub(super) home: Index,
}

/// Memory for fragments, allocated where sleeping is allowed and handed in where it is not.
#[derive(Default)]
pub(super) struct Spare {
    nodes: [Option<RBTreeNodeReservation<Key, Fragment>>; 2],
}

impl Spare {
    /// As many nodes as one [`Fragments::cover`] can need.
    pub(super) fn fill(&mut self, flags: Flags) -> Result {
        for node in &mut self.nodes {
            if node.is_none() {
                *node = Some(RBTreeNodeReservation::new(flags)?);
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<RBTreeNodeReservation<Key, Fragment>> {
        self.nodes.iter_mut().find_map(Option::take)
    }

    fn put(&mut self, node: RBTreeNodeReservation<Key, Fragment>) {
        // No place means that there is more than anybody needs.
        if let Some(place) = self.nodes.iter_mut().find(|place| place.is_none()) {
            *place = Some(node);
        }
    }

    fn len(&self) -> usize {
        self.nodes.iter().flatten().count()
    }
}

/// [`Fragments::cover`] needs a filled [`Spare`]; nothing was changed.
#[derive(Debug)]
pub(super) struct NeedsSpare;

/// All fragments of a home, by file and by page of the device.
///
/// # Invariants
///
/// The values in `by_file` are exactly what is in the interval tree `by_home`. Fragments of one
/// file do not overlap in the file.
pub(super) struct Fragments {
    by_file: RBTree<Key, Fragment>,
    by_home: Opaque<bindings::rb_root_cached>,
    len: usize,
}

// SAFETY: The trees own their nodes, which may be used from any thread, one at a time.
unsafe impl Send for Fragments {}

// What is pinned are the nodes, which are allocated one by one; nothing points to the roots.
impl Unpin for Fragments {}

impl Fragments {
    pub(super) fn new() -> Self {
        Self {
            by_file: RBTree::new(),
            by_home: Opaque::new(bindings::rb_root_cached::default()),
            len: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Makes sure that `run.index` is in a fragment that maps it to `run.home`. Returns the last
    /// index, no more than `run.last`, up to which the same is so.
    ///
    /// A new fragment takes in as much of the extent as no other has. Where another fragment says
    /// something else of `run.index`, the file has been given other blocks since, and that
    /// fragment gives way: the caller knows that there is no alias in this slot.
    pub(super) fn cover(&mut self, run: &Run, spare: &mut Spare) -> Result<Index, NeedsSpare> {
        let found = self
            .at_or_before(run.file, run.index)
            .filter(|found| run.index <= found.last())
            .map(|found| (found.key, found.last(), found.home_of(run.index)));
        if let Some((_, last, home)) = found {
            if home == run.home {
                return Ok(last.min(run.last));
            }
        }
        // From here on there is no way back.
        if spare.len() < 2 {
            return Err(NeedsSpare);
        }
        if let Some((key, last, home)) = found {
            self.carve(key, last, run.index, home.wrapping_add(1), spare);
        }
        let mut low = run.first;
        let mut high = run.last;
        if let Some(next) = self.after(run.file, run.index) {
            high = high.min(next - 1);
            // What goes on from here on both sides, in the file and on the device, becomes one.
            if high == next - 1 {
                high = self.swallow(run, next).unwrap_or(high);
            }
        }
        let covered = high.min(run.last);

        if let Some(prev) = self.at_or_before(run.file, run.index) {
            let (key, last) = (prev.key, prev.last());
            if last + 1 >= low {
                if prev.home_of(run.index) == run.home {
                    self.resize(key, high);
                    return Ok(covered);
                }
                low = last + 1;
            }
        }
        let node = spare.take().ok_or(NeedsSpare)?;
        let key = Key {
            file: run.file,
            first: low,
        };
        self.insert(node, key, run.home - (run.index - low), high - low + 1);
        Ok(covered)
    }

    /// As [`Self::cover`], for all from `run.index` to `upto`, which is in the extent.
    ///
    /// The caller knows that there is no alias in these slots. Some may be covered when there is not
    /// memory enough; that does no harm.
    pub(super) fn cover_up_to(
        &mut self,
        run: &Run,
        upto: Index,
        spare: &mut Spare,
    ) -> Result<Index, NeedsSpare> {
        let mut covered = self.cover(run, spare)?;
        while covered < upto {
            let index = covered + 1;
            let rest = Run {
                index,
                home: run.home + (index - run.index),
                ..*run
            };
            covered = self.cover(&rest, spare)?;
        }
        Ok(covered)
    }

    /// Takes away what there is of `file` between `first` and `last`, inclusive, where there are no
    /// aliases. Of a fragment that reaches out on both sides nothing is taken: it stays right.
    ///
    /// No more than `most` fragments are taken away at once. Returns the index from where on there
    /// may be more.
    pub(super) fn forget(
        &mut self,
        file: FileKey,
        first: Index,
        last: Index,
        most: usize,
    ) -> Option<Index> {
        if let Some(before) = self.at_or_before(file, first) {
            let (key, end) = (before.key, before.last());
            if key.first < first && end >= first && end <= last {
                self.resize(key, first - 1);
            }
        }
        for _ in 0..most {
            let found = self.next_from(file, first)?;
            let (key, end, home) = (found.key, found.last(), found.home_first());
            if key.first > last {
                return None;
            }
            let node = self.remove(key)?;
            if end > last {
                let gone = last + 1 - key.first;
                let key = Key {
                    file,
                    first: last + 1,
                };
                self.insert(node, key, home + gone, end - last);
                return None;
            }
        }
        let next = self.next_from(file, first)?.key.first;
        (next <= last).then_some(next)
    }

    /// Calls `f` with every range of slots that may hold aliases to pages of the device from `first`
    /// to `last`, inclusive, until it says `false`.
    pub(super) fn for_each(&self, first: Index, last: Index, mut f: impl FnMut(Slots) -> bool) {
        // SAFETY: By the type invariant this is a valid tree, which we have shared access to, and
        // that C only reads here.
        let mut node =
            unsafe { bindings::interval_tree_iter_first(self.by_home.get(), first, last) };
        while !node.is_null() {
            // SAFETY: By the type invariant every node is that of a `Fragment` in `by_file`.
            let fragment = unsafe { &*container_of!(Opaque::cast_from(node), Fragment, node) };
            let home = first.max(fragment.home_first());
            let index = fragment.key.first + (home - fragment.home_first());
            let slots = Slots {
                file: fragment.key.file,
                first: index,
                last: fragment.last().min(index + (last - home)),
                home,
            };
            if !f(slots) {
                return;
            }
            // SAFETY: `node` is in the tree.
            node = unsafe { bindings::interval_tree_iter_next(node, first, last) };
        }
    }

    /// The fragment of `file` with the greatest first index up to `index`.
    fn at_or_before(&self, file: FileKey, index: Index) -> Option<&Fragment> {
        let key = Key { file, first: index };
        let fragment = match self.by_file.cursor_lower_bound(&key) {
            Some(cursor) if *cursor.current().0 == key => cursor.current().1.key,
            Some(cursor) => cursor.peek_prev()?.1.key,
            None => self.by_file.cursor_back()?.current().1.key,
        };
        if fragment.file != file {
            return None;
        }
        self.by_file.get(&fragment)
    }

    /// The first index of the first fragment of `file` that begins behind `index`.
    fn after(&self, file: FileKey, index: Index) -> Option<Index> {
        self.next_from(file, index.checked_add(1)?)
            .map(|fragment| fragment.key.first)
    }

    /// The first fragment of `file` that begins at `index` or behind it.
    fn next_from(&self, file: FileKey, index: Index) -> Option<&Fragment> {
        let key = Key { file, first: index };
        let found = self.by_file.cursor_lower_bound(&key)?.current().1.key;
        if found.file != file {
            return None;
        }
        self.by_file.get(&found)
    }

    /// Takes `index` out of the fragment `key`, which ends at `last` and has `tail` for the page of
    /// `index + 1`. Needs a spare node if `index` is in the middle.
    fn carve(&mut self, key: Key, last: Index, index: Index, tail: Index, spare: &mut Spare) {
        let node = if index == key.first {
            self.remove(key)
        } else {
            self.resize(key, index - 1);
            spare.take()
        };
        let Some(node) = node else { return };
        if index == last {
            return spare.put(node);
        }
        let key = Key {
            file: key.file,
            first: index + 1,
        };
        self.insert(node, key, tail, last - index);
    }

    /// Removes the fragment of the run's file that begins at `next`, if it is one with the run.
    /// Returns its last index: the caller covers it in its place.
    fn swallow(&mut self, run: &Run, next: Index) -> Option<Index> {
        let key = Key {
            file: run.file,
            first: next,
        };
        let found = self.by_file.get(&key)?;
        if found.home_of(run.index) != run.home {
            return None;
        }
        let last = found.last();
        self.remove(key);
        Some(last)
    }

    fn insert(
        &mut self,
        node: RBTreeNodeReservation<Key, Fragment>,
        key: Key,
        home: Index,
        len: usize,
    ) {
        self.by_file
            .insert(node.into_node(key, Fragment::new(key, home, len)));
        self.len += 1;
        self.link(key);
    }

    fn remove(&mut self, key: Key) -> Option<RBTreeNodeReservation<Key, Fragment>> {
        self.unlink(key);
        let node = self.by_file.remove_node(&key)?;
        self.len -= 1;
        Some(node.into_reservation())
    }

    /// Lets the fragment `key` end at `last`.
    fn resize(&mut self, key: Key, last: Index) {
        self.unlink(key);
        if let Some(fragment) = self.by_file.get_mut(&key) {
            let node = fragment.node.get();
            // SAFETY: The node is in no tree now, and we have exclusive access.
            unsafe { (*node).last = (*node).start + (last - key.first) };
        }
        self.link(key);
    }

    fn link(&mut self, key: Key) {
        if let Some(fragment) = self.by_file.get_mut(&key) {
            // SAFETY: The node is in no tree, and stays where it is until `unlink`: tree nodes are
            // allocated one by one.
            unsafe { bindings::interval_tree_insert(fragment.node.get(), self.by_home.get()) };
        }
    }

    fn unlink(&mut self, key: Key) {
        if let Some(fragment) = self.by_file.get_mut(&key) {
            // SAFETY: By the type invariant the node is in the tree.
            unsafe { bindings::interval_tree_remove(fragment.node.get(), self.by_home.get()) };
        }
    }
}

#[cfg(CONFIG_RUST_PAGE_CACHE_KUNIT_TEST)]
#[kunit_tests(rust_page_cache_fragment)]
mod tests {
    use super::*;

    const ONE: FileKey = 0x1000;
    const OTHER: FileKey = 0x2000;

    fn spare() -> Result<Spare> {
        let mut spare = Spare::default();
        spare.fill(GFP_KERNEL)?;
        Ok(spare)
    }

    /// Covers `index` of `file` in an extent of `len` pages that begins at `first` and `home`.
    fn cover(
        fragments: &mut Fragments,
        file: FileKey,
        index: Index,
        first: Index,
        home: Index,
        len: usize,
    ) -> Result<Index> {
        let run = Run {
            file,
            index,
            home: home + (index - first),
            first,
            last: first + len - 1,
        };
        fragments
            .cover(&run, &mut spare()?)
            .map_err(|NeedsSpare| ENOMEM)
    }

    /// The only slot of `ONE` that may hold an alias to `home`, if there is one.
    fn slot(fragments: &Fragments, home: Index) -> Option<Index> {
        let mut found = None;
        fragments.for_each(home, home, |slots| {
            assert_eq!((slots.first, slots.home), (slots.last, home));
            if slots.file == ONE {
                assert!(found.is_none());
                found = Some(slots.first);
            }
            true
        });
        found
    }

    #[test]
    fn one_page_covers_its_whole_extent() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 15, 10, 1000, 100)?;
        assert_eq!(fragments.len(), 1);
        assert_eq!(slot(&fragments, 1000), Some(10));
        assert_eq!(slot(&fragments, 1099), Some(109));
        assert_eq!(slot(&fragments, 1100), None);
        assert_eq!(slot(&fragments, 999), None);
        Ok(())
    }

    #[test]
    fn covering_again_needs_no_memory() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 15, 10, 1000, 100)?;
        let run = Run {
            file: ONE,
            index: 50,
            home: 1040,
            first: 10,
            last: 109,
        };
        assert!(fragments.cover(&run, &mut Spare::default()).is_ok());
        assert_eq!(fragments.len(), 1);
        Ok(())
    }

    #[test]
    fn a_new_fragment_without_memory_changes_nothing() {
        let mut fragments = Fragments::new();
        let run = Run {
            file: ONE,
            index: 0,
            home: 7,
            first: 0,
            last: 0,
        };
        assert!(fragments.cover(&run, &mut Spare::default()).is_err());
        assert_eq!(fragments.len(), 0);
    }

    #[test]
    fn two_files_are_found_from_one_page() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 0, 0, 1000, 10)?;
        cover(&mut fragments, OTHER, 70, 70, 1005, 10)?;
        let mut found = 0;
        fragments.for_each(1007, 1007, |slots| {
            let slot = (slots.file, slots.first);
            assert!(slot == (ONE, 7) || slot == (OTHER, 72));
            found += 1;
            true
        });
        assert_eq!(found, 2);
        Ok(())
    }

    #[test]
    fn one_file_may_map_a_page_twice() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 0, 0, 1000, 10)?;
        cover(&mut fragments, ONE, 20, 20, 1000, 10)?;
        let mut found = 0;
        fragments.for_each(1003, 1003, |slots| {
            found += slots.first;
            true
        });
        assert_eq!(found, 3 + 23);
        Ok(())
    }

    /// For folios of several pages: all that may name one of them, and nothing beside.
    #[test]
    fn ranges_of_pages_are_cut_to_size() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 0, 0, 1000, 10)?;
        cover(&mut fragments, OTHER, 70, 70, 1005, 100)?;
        cover(&mut fragments, OTHER, 10, 10, 1030, 10)?;
        let mut found = 0;
        fragments.for_each(1008, 1023, |slots| {
            let slots = (slots.file, slots.first, slots.last, slots.home);
            assert!(slots == (ONE, 8, 9, 1008) || slots == (OTHER, 73, 88, 1008));
            found += 1;
            true
        });
        assert_eq!(found, 2);
        fragments.for_each(1000, 1006, |slots| {
            let slots = (slots.file, slots.first, slots.last, slots.home);
            assert!(slots == (ONE, 0, 6, 1000) || slots == (OTHER, 70, 71, 1005));
            found += 1;
            true
        });
        assert_eq!(found, 4);
        Ok(())
    }

    #[test]
    fn all_of_a_range_is_covered() -> Result {
        let mut fragments = Fragments::new();
        // What was there before, and is elsewhere now.
        cover(&mut fragments, ONE, 12, 12, 50, 2)?;
        let run = Run {
            file: ONE,
            index: 8,
            home: 1008,
            first: 0,
            last: 99,
        };
        // As often as there is another fragment in the way, it wants memory again.
        let mut tries = 0;
        while fragments.cover_up_to(&run, 15, &mut spare()?).is_err() {
            tries += 1;
            assert!(tries < 4);
        }
        for index in 8..16 {
            assert_eq!(slot(&fragments, 1000 + index), Some(index));
        }
        assert_eq!(slot(&fragments, 50), None);
        Ok(())
    }

    #[test]
    fn an_extent_that_grew_grows_its_fragment() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 0, 0, 1000, 10)?;
        cover(&mut fragments, ONE, 10, 10, 1010, 10)?;
        assert_eq!(fragments.len(), 1);
        assert_eq!(slot(&fragments, 1019), Some(19));
        Ok(())
    }

    #[test]
    fn reading_backwards_leaves_one_fragment() -> Result {
        let mut fragments = Fragments::new();
        for window in (0..8).rev() {
            cover(
                &mut fragments,
                ONE,
                window * 32,
                window * 32,
                1000 + window * 32,
                32,
            )?;
        }
        assert_eq!(fragments.len(), 1);
        assert_eq!(slot(&fragments, 1255), Some(255));
        Ok(())
    }

    #[test]
    fn a_gap_that_is_filled_joins_both_sides() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 0, 0, 1000, 10)?;
        cover(&mut fragments, ONE, 20, 20, 1020, 10)?;
        cover(&mut fragments, ONE, 12, 10, 1010, 10)?;
        assert_eq!(fragments.len(), 1);
        // But not with what lies elsewhere on the device.
        cover(&mut fragments, ONE, 30, 30, 500, 10)?;
        assert_eq!(fragments.len(), 2);
        assert_eq!(slot(&fragments, 1029), Some(29));
        assert_eq!(slot(&fragments, 500), Some(30));
        Ok(())
    }

    /// Who covers one page need not ask again for those behind it, up to where it is said.
    #[test]
    fn covering_says_how_far() -> Result {
        let mut fragments = Fragments::new();
        assert_eq!(cover(&mut fragments, ONE, 40, 40, 2000, 10)?, 49);
        // Up to what another fragment says something else of.
        assert_eq!(cover(&mut fragments, ONE, 5, 0, 1000, 100)?, 39);
        // Known already, and to the end of the extent, not of the fragment.
        assert_eq!(cover(&mut fragments, ONE, 8, 0, 1000, 20)?, 19);
        // One with what follows, and no further than the extent.
        assert_eq!(cover(&mut fragments, ONE, 50, 50, 2010, 5)?, 54);
        assert_eq!(cover(&mut fragments, ONE, 45, 40, 2000, 15)?, 54);
        // In the place of what was said before, of this page and not yet of the next.
        assert_eq!(cover(&mut fragments, ONE, 8, 8, 7000, 2)?, 8);
        assert_eq!(slot(&fragments, 7000), Some(8));
        assert_eq!(slot(&fragments, 1008), None);
        assert_eq!(slot(&fragments, 1009), Some(9));
        Ok(())
    }

    #[test]
    fn a_walk_stops_when_told_to() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 0, 0, 1000, 10)?;
        cover(&mut fragments, OTHER, 0, 0, 1000, 10)?;
        let mut calls = 0;
        fragments.for_each(1000, 1000, |_| {
            calls += 1;
            false
        });
        assert_eq!(calls, 1);
        Ok(())
    }

    #[test]
    fn a_remapped_page_moves_and_its_neighbours_stay() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 0, 0, 1000, 10)?;
        cover(&mut fragments, ONE, 5, 5, 77, 1)?;
        assert_eq!(slot(&fragments, 1004), Some(4));
        assert_eq!(slot(&fragments, 1005), None);
        assert_eq!(slot(&fragments, 1006), Some(6));
        assert_eq!(slot(&fragments, 77), Some(5));
        assert_eq!(fragments.len(), 3);
        Ok(())
    }

    #[test]
    fn the_first_and_the_last_page_can_be_remapped() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 0, 0, 1000, 3)?;
        cover(&mut fragments, ONE, 0, 0, 50, 1)?;
        cover(&mut fragments, ONE, 2, 2, 60, 1)?;
        assert_eq!(slot(&fragments, 50), Some(0));
        assert_eq!(slot(&fragments, 1001), Some(1));
        assert_eq!(slot(&fragments, 60), Some(2));
        cover(&mut fragments, ONE, 1, 1, 70, 1)?;
        assert_eq!(slot(&fragments, 1001), None);
        assert_eq!(slot(&fragments, 70), Some(1));
        assert_eq!(fragments.len(), 3);
        Ok(())
    }

    #[test]
    fn forgetting_is_done_in_portions() -> Result {
        let mut fragments = Fragments::new();
        for i in 0..5 {
            cover(&mut fragments, ONE, i * 10, i * 10, 1000 * (i + 1), 5)?;
        }
        assert_eq!(fragments.forget(ONE, 2, 43, 2), Some(30));
        assert_eq!(fragments.len(), 3);
        assert_eq!(slot(&fragments, 1001), Some(1));
        assert_eq!(slot(&fragments, 1002), None);
        assert_eq!(slot(&fragments, 4000), Some(30));
        // What is left of the last one is not taken for more to do.
        assert_eq!(fragments.forget(ONE, 30, 43, 2), None);
        assert_eq!(fragments.len(), 2);
        assert_eq!(slot(&fragments, 5004), Some(44));
        // As many as there are: nothing is left to come back for.
        assert_eq!(fragments.forget(ONE, 0, usize::MAX, 2), None);
        assert_eq!(fragments.len(), 0);
        Ok(())
    }

    #[test]
    fn forgetting_a_range_leaves_both_ends() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 0, 0, 1000, 10)?;
        cover(&mut fragments, ONE, 20, 20, 2000, 10)?;
        cover(&mut fragments, OTHER, 5, 0, 3000, 10)?;
        assert_eq!(fragments.forget(ONE, 5, 24, 9), None);
        assert_eq!(slot(&fragments, 1004), Some(4));
        assert_eq!(slot(&fragments, 1005), None);
        assert_eq!(slot(&fragments, 2004), None);
        assert_eq!(slot(&fragments, 2005), Some(25));
        assert_eq!(fragments.len(), 3);
        assert_eq!(fragments.forget(ONE, 0, usize::MAX, 9), None);
        assert_eq!(fragments.len(), 1);
        assert_eq!(fragments.forget(OTHER, 0, usize::MAX, 9), None);
        assert_eq!(fragments.len(), 0);
        Ok(())
    }

    #[test]
    fn a_fragment_that_reaches_out_on_both_sides_stays() -> Result {
        let mut fragments = Fragments::new();
        cover(&mut fragments, ONE, 0, 0, 1000, 10)?;
        assert_eq!(fragments.forget(ONE, 3, 6, 9), None);
        assert_eq!(fragments.len(), 1);
        assert_eq!(slot(&fragments, 1005), Some(5));
        Ok(())
    }
}
