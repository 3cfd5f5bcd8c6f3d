//! A stream processing unit: stores what producers send and streams it to consumers.
