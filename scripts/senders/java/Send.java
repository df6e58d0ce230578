import com.segment.analytics.Analytics;
import com.segment.analytics.messages.IdentifyMessage;
import com.segment.analytics.messages.PageMessage;
import com.segment.analytics.messages.TrackMessage;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Sends a small journey with the Java library: java -cp 'jars/*' Send.java ADDRESS KEY USER. */
public class Send {
  public static void main(String[] args) throws Exception {
    String user = args[2];
    String anonymous = "anonymous-" + user;
    Analytics analytics =
        Analytics.builder(args[1]).endpoint(args[0]).flushInterval(1, TimeUnit.SECONDS).build();
    analytics.enqueue(
        IdentifyMessage.builder().userId(user).anonymousId(anonymous).traits(Map.of("plan", "basic")));
    analytics.enqueue(
        PageMessage.builder("Home")
            .userId(user)
            .anonymousId(anonymous)
            .properties(Map.of("url", "https://shop.example/home", "path", "/home")));
    analytics.enqueue(
        TrackMessage.builder("Product Viewed")
            .userId(user)
            .properties(Map.of("product_id", "p1", "colour", "red")));
    analytics.enqueue(
        TrackMessage.builder("Product Added")
            .userId(user)
            .properties(
                Map.of("product_id", "p1", "price", 19.99, "quantity", 2, "currency", "EUR", "cart_id", "c1")));
    analytics.enqueue(
        TrackMessage.builder("Order Completed")
            .userId(user)
            .properties(
                Map.of(
                    "order_id", "o1", "revenue", 39.98, "currency", "EUR",
                    "products", List.of(Map.of("product_id", "p1", "price", 19.99, "quantity", 2)))));
    analytics.flush();
    analytics.shutdown();
  }
}
