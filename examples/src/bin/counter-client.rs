//! Adds its argument to the counter of the server `counter-1`, and prints the total.

use std::{
    error::Error,
    io::{Write, stdout},
};

use ensemble_examples::Add;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let amount = std::env::args().nth(1).unwrap_or_else(|| "1".into()).parse()?;
    let (node, _registry) = registry::connect(registry::console(), None).await?;
    let total = node.remote("counter-1", "counter").send(Add(amount)).await?;
    writeln!(stdout(), "{total}")?;
    Ok(())
}
