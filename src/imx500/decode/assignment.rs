//! The assignment problem: rows to columns at the least total cost, by Munkres' method.
//!
//! Which of several equally good assignments comes out depends on the order in which zeros are looked for. It is that of
//! the Python module `munkres`, which modlib carries, so that both give the same persons.

/// Most rows and columns.
pub(super) const SIDE_MAX: usize = 30;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Star,
    Prime,
}

/// A square matrix of costs and what the method notes about it. About 8 KB.
#[derive(Clone)]
pub(super) struct Assignment {
    cost: [[f64; SIDE_MAX]; SIDE_MAX],
    mark: [[Mark; SIDE_MAX]; SIDE_MAX],
    row_covered: [bool; SIDE_MAX],
    column_covered: [bool; SIDE_MAX],
    side: usize,
}

impl Assignment {
    pub const fn new() -> Self {
        Self {
            cost: [[0.0; SIDE_MAX]; SIDE_MAX],
            mark: [[Mark::None; SIDE_MAX]; SIDE_MAX],
            row_covered: [false; SIDE_MAX],
            column_covered: [false; SIDE_MAX],
            side: 0,
        }
    }

    /// Solves for a square of `side` ≤ [`SIDE_MAX`] with finite costs; then [`column`](Self::column) tells the result.
    pub fn solve(&mut self, side: usize, cost: impl Fn(usize, usize) -> f64) {
        self.side = side.min(SIDE_MAX);
        for row in 0..self.side {
            let least = (0..self.side).map(|column| cost(row, column)).fold(f64::INFINITY, f64::min);
            for column in 0..self.side {
                self.cost[row][column] = cost(row, column) - least;
                self.mark[row][column] = Mark::None;
            }
        }
        self.star_free_zeros();
        // Each round stars one more zero.
        for _ in 0..self.side {
            self.uncover();
            if self.cover_starred() == self.side {
                return;
            }
            let Some(place) = self.prime_until_free() else { return };
            self.exchange(place);
        }
        self.uncover();
    }

    /// The column assigned to `row`.
    pub fn column(&self, row: usize) -> Option<usize> {
        (0..self.side).find(|&column| self.mark[row][column] == Mark::Star)
    }

    fn star_free_zeros(&mut self) {
        self.uncover();
        for row in 0..self.side {
            let free = (0..self.side).find(|&c| self.cost[row][c] == 0.0 && !self.column_covered[c]);
            if let Some(column) = free {
                self.mark[row][column] = Mark::Star;
                self.column_covered[column] = true;
            }
        }
    }

    fn uncover(&mut self) {
        self.row_covered = [false; SIDE_MAX];
        self.column_covered = [false; SIDE_MAX];
    }

    /// Covers each column with a star and counts them.
    fn cover_starred(&mut self) -> usize {
        for column in 0..self.side {
            self.column_covered[column] = self.star_in_column(column).is_some();
        }
        self.column_covered.iter().filter(|&&covered| covered).count()
    }

    /// Primes uncovered zeros until one has no star in its row. Every prime but the last covers a row, and costs are
    /// shifted only when no zero is uncovered, which uncovers one: so there are at most `side` of each.
    fn prime_until_free(&mut self) -> Option<(usize, usize)> {
        let mut from = (0, 0);
        for _ in 0..=2 * self.side {
            let Some((row, column)) = self.uncovered_zero(from) else {
                self.shift();
                from = (0, 0);
                continue;
            };
            self.mark[row][column] = Mark::Prime;
            let Some(star) = self.mark_in_row(row, Mark::Star) else { return Some((row, column)) };
            self.row_covered[row] = true;
            self.column_covered[star] = false;
            from = (row, star);
        }
        None
    }

    /// The first row with an uncovered zero, in a circle from `from`, and in it the last one, in a circle from `from`'s column.
    fn uncovered_zero(&self, from: (usize, usize)) -> Option<(usize, usize)> {
        let circle = |start: usize| (start..self.side).chain(0..start);
        circle(from.0).filter(|&row| !self.row_covered[row]).find_map(|row| {
            let mut zeros = circle(from.1).filter(|&c| self.cost[row][c] == 0.0 && !self.column_covered[c]);
            zeros.next_back().map(|column| (row, column))
        })
    }

    /// Makes the least uncovered cost a zero; stars and primes stay zeros.
    fn shift(&mut self) {
        let mut least = f64::INFINITY;
        for row in (0..self.side).filter(|&row| !self.row_covered[row]) {
            for column in (0..self.side).filter(|&column| !self.column_covered[column]) {
                least = least.min(self.cost[row][column]);
            }
        }
        for row in 0..self.side {
            for column in 0..self.side {
                if self.row_covered[row] {
                    self.cost[row][column] += least;
                }
                if !self.column_covered[column] {
                    self.cost[row][column] -= least;
                }
            }
        }
    }

    /// Along alternating primes and stars from a prime without a star in its row: stars go, primes become stars.
    fn exchange(&mut self, (mut row, column): (usize, usize)) {
        let mut column = column;
        for _ in 0..self.side {
            let star = self.star_in_column(column);
            self.mark[row][column] = Mark::Star;
            let Some(next) = star else { break };
            self.mark[next][column] = Mark::None;
            // A star in the column of a prime shares its row with another prime.
            let Some(prime) = self.mark_in_row(next, Mark::Prime) else { break };
            (row, column) = (next, prime);
        }
        for mark in self.mark.iter_mut().flatten().filter(|mark| **mark == Mark::Prime) {
            *mark = Mark::None;
        }
    }

    fn star_in_column(&self, column: usize) -> Option<usize> {
        (0..self.side).find(|&row| self.mark[row][column] == Mark::Star)
    }

    fn mark_in_row(&self, row: usize, mark: Mark) -> Option<usize> {
        (0..self.side).find(|&column| self.mark[row][column] == mark)
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    /// The least total by trying every permutation.
    fn by_trying(cost: &[[f64; 6]; 6], side: usize, row: usize, used: u32) -> f64 {
        if row == side {
            return 0.0;
        }
        (0..side)
            .filter(|column| used & 1 << column == 0)
            .map(|column| cost[row][column] + by_trying(cost, side, row + 1, used | 1 << column))
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn the_total_is_the_least_possible() {
        let mut x = 1_u32;
        let mut random = move || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            x >> 24
        };
        let mut assignment = Assignment::new();
        for round in 0..500 {
            let side = 1 + round % 6;
            let cost: [[f64; 6]; 6] = core::array::from_fn(|_| core::array::from_fn(|_| f64::from(random() % 12)));
            assignment.solve(side, |row, column| cost[row][column]);
            let columns: Vec<usize> = (0..side).map(|row| assignment.column(row).unwrap()).collect();
            let mut each = columns.clone();
            each.sort_unstable();
            assert!(each.iter().copied().eq(0..side), "{columns:?}");
            let total: f64 = columns.iter().enumerate().map(|(row, &column)| cost[row][column]).sum();
            assert_eq!(total, by_trying(&cost, side, 0, 0), "{cost:?}");
        }
    }

    #[test]
    fn the_largest_square_is_solved() {
        let mut assignment = Assignment::new();
        assignment.solve(SIDE_MAX, |row, column| ((row + 1) * (column + 1)) as f64);
        assert!((0..SIDE_MAX).all(|row| assignment.column(row) == Some(SIDE_MAX - 1 - row)));
    }
}
