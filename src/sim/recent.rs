//! The last few answers of a function whose answer follows from its question alone: the simulation asks the same thousands of
//! times, and certificates or YAML take long to read.

use std::cell::RefCell;
use std::collections::VecDeque;

/// Answers that are kept: some machines' files, each asked for in turn.
const KEPT: usize = 16;

/// One thread's last answers, the newest first.
pub struct Recent<Q, A>(RefCell<VecDeque<(Q, A)>>);

impl<Q: PartialEq, A: Clone> Recent<Q, A> {
    pub const fn new() -> Self {
        Self(RefCell::new(VecDeque::new()))
    }

    /// Returns the answer to a question, worked out unless it is known. What failed is tried again.
    pub fn answer<E>(&self, question: Q, work: impl FnOnce(&Q) -> Result<A, E>) -> Result<A, E> {
        let known =
            self.0.borrow().iter().find(|(known, _)| *known == question).map(|(_, answer)| answer.clone());
        if let Some(answer) = known {
            return Ok(answer);
        }
        let answer = work(&question)?;
        let mut answers = self.0.borrow_mut();
        answers.truncate(KEPT - 1);
        answers.push_front((question, answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_worked_out_once_while_it_is_among_the_last() {
        let (recent, worked) = (Recent::new(), RefCell::new(0));
        let ask = |question: usize| {
            recent.answer(question, |question| {
                *worked.borrow_mut() += 1;
                if *question == 0 { Err("none") } else { Ok(question * 2) }
            })
        };
        assert_eq!((ask(7), ask(7), *worked.borrow()), (Ok(14), Ok(14), 1));
        assert!((1..=KEPT).all(|other| ask(100 + other).is_ok()));
        assert_eq!((ask(7), *worked.borrow()), (Ok(14), 2 + KEPT));
        assert_eq!((ask(0), ask(0), *worked.borrow()), (Err("none"), Err("none"), 4 + KEPT));
    }
}
