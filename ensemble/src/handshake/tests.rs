//! Both machines against each other, and against peers that lie.
