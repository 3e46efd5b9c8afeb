use super::{CodeRows, PAD};
use crate::kernel::keys::Codes;
use crate::kernel::{Level, Packing};
use crate::random::RandomState;

/// Place of the node's first row among the tree's.
const FIRST: usize = 50;

#[test]
fn every_level_takes_and_divides_rows_in_their_order_and_nothing_else() {
    let mut stream = RandomState::new(21);
    let n_rows = 300;
    let packing = Packing::new(n_rows, 2).unwrap();
    for n_features in if cfg!(miri) { vec![16, 20, 33] } else { vec![1, 15, 16, 17, 20, 31, 32, 33, 70] } {
        let stride = CodeRows::stride(n_features);
        assert!(stride >= n_features);
        let frame: Vec<u8> = (0..n_rows * stride + PAD).map(|_| u8::try_from(stream.randint(256)).unwrap()).collect();
        let items: Vec<u32> = (0..200).map(|_| packing.item(stream.randint(300), stream.randint(2)) | 1).collect();
        let codes = |item: &u32| &frame[packing.row(*item) as usize * stride..][..stride];
        let mut tree = CodeRows::default();
        let of_frame = Codes { bytes: &frame, stride, in_order: false };
        tree.begin(of_frame, FIRST, &items);
        let taken: Vec<Vec<u8>> = items.iter().map(|item| codes(item).to_vec()).collect();
        assert!(tree.codes(FIRST, FIRST + 200).unwrap().bytes.chunks_exact(stride).eq(taken.iter()));
        assert!(tree.codes(FIRST - 1, FIRST + 200).is_none() && tree.codes(FIRST, FIRST + 201).is_none());
        for (start, end) in
            [(0_usize, 200_usize), (3, 4), (7, 23), (20, 37), (150, 200)].into_iter().skip(usize::from(cfg!(miri)))
        {
            for share in [0, 1, 2, 3] {
                let goes_left: Vec<bool> = (start..end).map(|_| stream.randint(3) < share).collect();
                let mut marks = vec![0_u16; (end - start).div_ceil(16)];
                for (at, goes_left) in goes_left.iter().enumerate() {
                    marks[at / 16] |= u16::from(*goes_left) << (at % 16);
                }
                let side = |wanted: bool| {
                    let rows = taken[start..end].iter().zip(&goes_left);
                    rows.filter(move |(_, goes_left)| **goes_left == wanted).map(|(row, _)| row)
                };
                let expected: Vec<&Vec<u8>> =
                    taken[..start].iter().chain(side(true)).chain(side(false)).chain(&taken[end..]).collect();
                for level in Level::all() {
                    tree.begin(of_frame, FIRST, &items);
                    tree.divide(level, &marks, FIRST + start, FIRST + end);
                    assert!(
                        tree.codes(FIRST, FIRST + 200).unwrap().bytes.chunks_exact(stride).eq(expected.iter().copied()),
                        "{level:?}"
                    );
                }
            }
        }
    }
}
