//! Large arrays in large pages.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// Numbers that are read at random places: in large pages, where the system has them, the processor finds each place at
/// once, and elsewhere it first looks up where the page is.
#[derive(Debug)]
pub(crate) enum Pages<T> {
    Mapped(MmapMut, std::marker::PhantomData<T>),
    Plain(Vec<T>),
}

impl<T: bytemuck::Pod> Pages<T> {
    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        if bytes >= LARGE_PAGE
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            // The advice is refused by systems without large pages: the memory serves all the same.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Self::Mapped(map, std::marker::PhantomData);
        }
        Self::Plain(vec![T::zeroed(); len])
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self::Plain(Vec::new())
    }
}

impl<T: bytemuck::Pod> Pages<T> {
    /// Has room for `len` numbers at least. What was there is lost where it had not. Room costs no memory before it is
    /// written to.
    pub(crate) fn make_room(&mut self, len: usize) {
        if self.len() < len {
            *self = Self::default();
            *self = Self::zeroed(len);
        }
    }
}

impl<T: bytemuck::Pod> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Mapped(map, _) => bytemuck::cast_slice(map),
            Self::Plain(numbers) => numbers,
        }
    }
}

impl<T: bytemuck::Pod> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Mapped(map, _) => bytemuck::cast_slice_mut(map),
            Self::Plain(numbers) => numbers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;

    #[test]
    fn small_and_large_arrays_are_zero_and_keep_what_is_written() {
        for len in [0, 3, 1 << 20] {
            let mut pages = Pages::<u32>::zeroed(len);
            assert!(pages.len() == len && pages.iter().all(|number| *number == 0));
            if let Some(last) = pages.last_mut() {
                *last = 7;
            }
            assert_eq!(pages.iter().map(|number| u64::from(*number)).sum::<u64>(), if len == 0 { 0 } else { 7 });
            pages.make_room(len);
            assert!(pages.len() == len && pages.last().is_none_or(|last| *last == 7), "it had room");
            pages.make_room(len + 1);
            assert_eq!(pages.len(), len + 1);
        }
    }
}
