//! Hosts a counter as the server `counter-1`, until it is shut down.

use std::error::Error;

use ensemble::Node;
use registry::Join;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let node = Node::builder("counter-1").role("counter").join().await?;
    node.export("counter", ensemble_examples::counter())?;
    node.run().await?;
    Ok(())
}
